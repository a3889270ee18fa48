"""What operators set: how long rows are kept."""
