"""The background: loops, chores, retention, and who notices when nobody looks."""
