"""Runs that keep the answer to a question about a board."""
