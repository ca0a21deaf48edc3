"""The commands that answer a question about a board or a run."""
