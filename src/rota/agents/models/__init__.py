"""Models: providers, building, retries, failures, prices."""
