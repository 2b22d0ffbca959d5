"""Weights: what a model's name means, where its files are, and reading them."""
