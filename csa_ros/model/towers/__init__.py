"""Image towers of open_clip and timm, in one form."""
