"""Calendars: what is in them, when somebody is free, and new events."""
