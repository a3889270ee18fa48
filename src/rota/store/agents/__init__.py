"""Rows of agents, tools, connections and model prices."""
