"""Rows of notifications and incidents."""
