"""Leaderboards, comparisons and claims, as pure functions of records."""
