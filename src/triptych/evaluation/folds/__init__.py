"""Cross-validation: every image is tested out of fold, and what its folds say of the difference between two panels."""
