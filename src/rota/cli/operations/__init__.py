"""Commands that start and look after processes."""
