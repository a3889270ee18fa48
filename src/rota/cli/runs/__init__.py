"""Commands about runs, results, limits and usage."""
