"""Answers about a board, besides those of a comparison, from its panels and their embeddings."""
