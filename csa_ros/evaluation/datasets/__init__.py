"""Data sets with their truth: finding and reading their files, and the published protocols."""
