"""`rota export` and `rota apply`."""
