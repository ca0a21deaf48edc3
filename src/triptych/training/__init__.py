"""The training loop, checkpoints, the scikit-learn estimators."""
