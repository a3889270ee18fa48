"""Text as values: what can be stored, what can be seen, JSON, Markdown."""
