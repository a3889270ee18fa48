"""The process that serves the HTTP API: its sockets, its bounds, and what it lets in."""
