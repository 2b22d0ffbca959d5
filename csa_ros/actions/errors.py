"""What cannot be recognised or learned."""


class ActionError(ValueError):
    """Frames, words, weights or clips cannot be used; the message says why."""
