"""The ensemble of a board: the averaged probabilities of its panels, weighted on the validation set."""
