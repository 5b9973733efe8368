"""User data: tables and images described by a ``dataset.toml``."""
