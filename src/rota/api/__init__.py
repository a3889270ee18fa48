"""The HTTP API: a face beside the command line, which knows services and values only."""
