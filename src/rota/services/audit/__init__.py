"""Use cases of the audit log: sealing, checking, exporting."""
