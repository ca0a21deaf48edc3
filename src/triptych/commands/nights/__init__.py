"""The command for the nights of a board, one after the other."""
