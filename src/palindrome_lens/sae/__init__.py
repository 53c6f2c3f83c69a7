"""Sparse autoencoders: architectures, training, metrics."""
