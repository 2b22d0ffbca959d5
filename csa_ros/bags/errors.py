"""What is wrong with a bag."""


class BagError(ValueError):
    """A bag, or what is asked of it, cannot be used; the text names it and the next step."""
