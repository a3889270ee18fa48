"""Agents: configuration, script, prices, retries, and the declarations of tools."""
