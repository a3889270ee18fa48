"""Rows that say which processes live, and how long rows are kept."""
