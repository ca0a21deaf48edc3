"""Training steps that a GPU replays."""
