"""The graph that all agents share, and the executor that reads agents from rows."""
