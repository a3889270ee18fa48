"""Secrets: encrypted at rest, redacted where people read, signed where they must not change."""
