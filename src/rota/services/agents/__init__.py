"""Use cases of agents: configuration, tools, connections, prices."""
