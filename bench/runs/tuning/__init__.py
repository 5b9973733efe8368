"""Hyperparameter tuning on validation batches."""
