"""Cutting a torchvision network at any node: the part below it, without the part above."""
