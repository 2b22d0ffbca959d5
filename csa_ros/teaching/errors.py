"""What cannot be taught."""


class TeachingError(ValueError):
    """A region, a name or a file of examples cannot be used; the message says why."""
