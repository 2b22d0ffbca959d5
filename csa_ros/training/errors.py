"""What is raised for a training that cannot begin or go on."""


class TrainingError(RuntimeError):
    """A training cannot begin or go on; the message says why and what to do next."""
