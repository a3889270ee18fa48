"""The approval gate: every tool call of every agent passes through it."""
