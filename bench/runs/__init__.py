"""From a request to a committed record."""
