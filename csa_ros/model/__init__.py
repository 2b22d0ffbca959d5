"""The model side: pixels to patch features, words to text features."""
