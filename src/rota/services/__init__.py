"""Use cases: executing runs, firing schedules, notifying people."""
