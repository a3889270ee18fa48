"""The audit log's proof: its chain, its heads, and the checks of both."""
