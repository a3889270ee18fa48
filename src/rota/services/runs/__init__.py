"""Use cases of runs: taking, executing, recording, limiting, cancelling."""
