"""What a run is: states, options, limits, contracts, and its place in the queue."""
