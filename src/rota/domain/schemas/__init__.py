"""JSON schemas: which ones are supported, and what checking against one may cost."""
