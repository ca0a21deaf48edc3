"""The bundled backbone: a small torchvision network that this project trained itself on MNIST.

`card.json` describes the weights beside it, the preprocessing that belongs to them, and the command that made
them; `CARD.md` says the same in words; `train.py` is that command, `digits.py`, `augment.py` and `fitting.py` are
its steps.
"""
