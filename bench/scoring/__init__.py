"""Scores of predictions and profiles. Only this package reads test labels."""
