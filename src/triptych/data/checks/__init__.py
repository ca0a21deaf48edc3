"""Checks of data before training: unreadable and duplicate images, scarce classes."""
