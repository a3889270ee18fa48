"""What an agent is: its configuration, script, prices, retries, and what its tools declare."""
