"""Scores of the profiles of a table: rankings with restricted galleries, activity, consistency."""
