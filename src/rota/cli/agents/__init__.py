"""Commands about agents: agents, tools, connections, prices."""
