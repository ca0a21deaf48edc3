"""Registered models: one for each panel of a board, and one for each board, which has the alias `champion`."""
