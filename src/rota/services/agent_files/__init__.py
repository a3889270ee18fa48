"""Agent files: read, checked, and applied as one change."""
