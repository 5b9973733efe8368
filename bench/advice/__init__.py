"""``check-data`` and ``recommend``."""
