"""Data of the user's own: tables and images described by a ``dataset.toml``."""
