"""Use cases of schedules: changing, firing, explaining, calendars."""
