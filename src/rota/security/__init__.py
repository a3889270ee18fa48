"""Approval tiers, the tool wrapper, encryption and redaction."""
