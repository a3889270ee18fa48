"""Rows of processes and retention, and statements over all tables, such as backups."""
