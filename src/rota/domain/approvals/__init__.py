"""Approvals: rules, risk signals, argument edits, and the states of an approval request."""
