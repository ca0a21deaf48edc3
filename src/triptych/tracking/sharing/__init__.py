"""What comparisons share, so that it is stored once."""
