"""The scripted model: deterministic, without a key or a network."""
