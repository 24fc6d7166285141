"""Diffusion models, from noise to pictures: the library of the book."""
__version__ = "0.1.0"
