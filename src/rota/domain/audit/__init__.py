"""What the audit log proves: its chain, its heads, and the checks over both."""
