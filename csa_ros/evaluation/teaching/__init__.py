"""Examples from labelled pictures, and how well classes are found by them."""
