"""The node that names what happens before a camera."""
