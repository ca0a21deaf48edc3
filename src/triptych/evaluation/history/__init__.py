"""The nights of a board: what each measured, what changed between them, and whether the last is worse than chance."""
