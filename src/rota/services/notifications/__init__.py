"""Use cases of notifications: telling people, and grouping failures."""
