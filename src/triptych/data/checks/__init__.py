"""Checks of data before training: unreadable and duplicate images, small and imbalanced classes."""
