"""Training the last blocks of a pretrained network together with its head, in one or several processes."""
