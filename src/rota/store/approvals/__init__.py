"""Rows of pending actions, approval rules and deputies."""
