"""What frames cost on a GPU; `scripts/gpu` measures all of it."""
