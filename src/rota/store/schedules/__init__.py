"""Rows of schedules, their fires and calendars."""
