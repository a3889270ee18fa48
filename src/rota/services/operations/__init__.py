"""Use cases of operation: background loops, chores, health, backups, keys and retention."""
