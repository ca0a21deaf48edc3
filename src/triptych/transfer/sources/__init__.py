"""Weights that other packages' networks come with: from timm's hub, and from Hugging Face folders."""
