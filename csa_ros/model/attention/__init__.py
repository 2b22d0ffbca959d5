"""Which self-attention an image tower runs, and what the methods are made of."""
