"""Pretrained weights, frozen backbones, the embedding store and the heads trained on it."""
