"""The graph that all agents share, and the executor that is loaded from rows."""
