"""What is raised for a model that cannot be had."""


class ModelError(RuntimeError):
    """A model cannot be used; the message says why and what to do next."""
