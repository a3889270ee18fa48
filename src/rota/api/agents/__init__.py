"""Agents, their files, tools, connections and prices over HTTP."""
