"""Rows of arrays, one for each image, in files that are never changed, found by the SHA-256 of the image."""
