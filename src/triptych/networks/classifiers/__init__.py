"""Classifiers of pixels that are fitted without epochs, one per file; `contract.py` defines their interface."""
