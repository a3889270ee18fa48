"""Tools that an agent row may name."""
