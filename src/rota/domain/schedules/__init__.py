"""Schedules, and their fire times."""
