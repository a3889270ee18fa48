"""Text as values: storable text, unseen characters, JSON, Markdown."""
