"""Mail: reading Gmail and mail folders, and the text of messages."""
