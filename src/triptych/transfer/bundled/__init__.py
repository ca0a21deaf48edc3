"""The bundled backbone: a small torchvision network that this project trained on MNIST.

`card.json` describes the weights, their preprocessing and the command that produced them; `CARD.md` is the same for
human readers. `train.py` is that command; `digits.py`, `augment.py` and `fitting.py` are its steps.
"""
