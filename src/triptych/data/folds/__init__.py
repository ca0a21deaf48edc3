"""Folds: the images are divided into equal parts, each of which is the test set of one training."""
