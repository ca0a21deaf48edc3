"""Hyper-parameter studies."""
