"""The end of a night: its place in the history of the board, and an event if it is worse than chance explains."""
