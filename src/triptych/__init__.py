"""Side by side, honestly: a network by hand in NumPy, the same in PyTorch, and transfer learning."""

__version__ = "0.2.0"
