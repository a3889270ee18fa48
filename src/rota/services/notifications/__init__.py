"""Use cases of notifications: writing notifications, and incidents."""
