"""Runs: states, options, limits, output contracts, priorities."""
