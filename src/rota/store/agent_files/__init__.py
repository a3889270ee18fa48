"""What files of a directory were applied."""
