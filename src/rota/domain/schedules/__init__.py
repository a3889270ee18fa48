"""What a schedule is, and when it fires."""
