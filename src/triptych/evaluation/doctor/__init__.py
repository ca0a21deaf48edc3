"""Findings about the models of a comparison: what its table does not say, each with a code and a remedy."""
