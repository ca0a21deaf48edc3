"""Cutting a network at any node: the part below it, without the part above."""
