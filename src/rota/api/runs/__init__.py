"""Runs, results, usage and limits over HTTP."""
