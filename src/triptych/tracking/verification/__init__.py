"""Verification of runs: the record that each training leaves, and training again from it."""
