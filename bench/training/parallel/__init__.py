"""Training with several batches per step, in one process or one process per batch."""
