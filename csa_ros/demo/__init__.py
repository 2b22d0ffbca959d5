"""A street that renders itself, a camera in it, and a CLIP trained on its pictures."""
