"""Calibration of the threshold below which a pixel is unknown."""
