"""Figures and the report page, drawn from boards."""
