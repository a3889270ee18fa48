"""Rows of runs, their journals, results, limits and usage."""
