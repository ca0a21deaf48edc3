"""Data sets, splits, prepared boards, checks of data."""
