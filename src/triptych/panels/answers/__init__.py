"""Panels trained on other images than in a comparison, to answer a question about a board."""
