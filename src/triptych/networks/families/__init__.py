"""The packages that networks come from: how a network of each is built, cut in front of its last layer, and fed."""
