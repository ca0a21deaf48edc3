"""Frozen backbones, the embedding store, heads."""
