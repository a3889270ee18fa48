"""Who calls: signing in, sessions and tokens."""
