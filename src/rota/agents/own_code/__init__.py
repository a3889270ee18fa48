"""Callables: functions and graphs that the operator wrote and registered."""
