"""People, processes, health and live events over HTTP."""
