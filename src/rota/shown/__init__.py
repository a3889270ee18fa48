"""What faces show of rota's values as JSON: one model for the command line and the HTTP API."""
