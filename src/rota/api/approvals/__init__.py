"""Approvals, rules and deputies over HTTP."""
