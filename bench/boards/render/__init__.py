"""Boards as text, Markdown, CSV, HTML, LaTeX and JSON."""
