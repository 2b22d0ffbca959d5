"""Recordings instead of cameras: bags that are segmented in parts, by one process or several."""
