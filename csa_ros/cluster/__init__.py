"""Work on several machines at once: a cluster of Ray runs it, and knows nothing of what it is."""
