"""The nights of each board in MLflow: read from its comparisons, and kept in the run `history` of the board."""
