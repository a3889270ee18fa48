"""The approval gate, and secrets: encrypted at rest, redacted where people read."""
