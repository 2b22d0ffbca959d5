"""Classes that are shown: examples of regions, and what they add to the words."""
