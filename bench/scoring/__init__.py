"""Scores of predictions and profiles. The only room that reads test labels."""
