"""Side by side, honestly: a network by hand in NumPy, the same in PyTorch, and transfer learning."""
