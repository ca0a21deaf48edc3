"""Classifiers of pixels that are fitted in one go, a file each; `contract.py` says what such a file holds."""
