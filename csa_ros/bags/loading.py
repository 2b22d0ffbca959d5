"""What labels recordings, as it is asked for: in this process, or in one of a cluster."""

from csa_ros.bags.jobs import Request
from csa_ros.bags.labelling import Labeller
from csa_ros.segmenter import Segmenter
from csa_ros.teaching.examples import Examples


def load(request: Request) -> Labeller:
    """
    Load the model of a request, and encode its words.

    Raises `csa_ros.model.errors.ModelError`, `csa_ros.teaching.errors.TeachingError` for examples
    of another model, and what `Segmenter.load` raises for settings that do not fit.
    """
    config = request.config
    segmenter = Segmenter.load(**config.model.to_load, settings=config.settings)
    examples = Examples()
    if request.kept:
        request.kept.check(segmenter.fingerprint())
        examples = request.kept.examples
    return Labeller(segmenter, config, request.outputs, examples)
