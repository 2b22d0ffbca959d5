"""What can be wrong with a cluster, before any work on it has begun or when none can go on."""


class ClusterError(RuntimeError):
    """The cluster cannot do the work; the message says why, and what to do."""
