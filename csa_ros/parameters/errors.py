"""What goes wrong with parameters, in words for users."""


class ParameterError(ValueError):
    """A parameter value cannot be used; the message names it, the limit and the next step."""
