"""The file of examples that tools read, as the node does when it is configured."""

from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace

from csa_ros.parameters.config import Config
from csa_ros.parameters.config import with_classes
from csa_ros.teaching.file import Kept
from csa_ros.teaching.file import read_kept
from csa_ros.vocabulary import Vocabulary
from csa_ros.vocabulary import VocabularyError


@dataclass(frozen=True)
class Widened:
    """
    A configuration whose vocabulary has the names of its file of examples.

    `kept` is that file, None if the configuration names none, and `remarks` say which names could
    not join.
    """

    config: Config
    kept: Kept | None = None
    remarks: list[str] = field(default_factory=list)


def widened(config: Config) -> Widened:
    """
    Return a configuration with the names of its examples, which join the vocabulary at its end.

    Raises `csa_ros.teaching.errors.TeachingError` if the file cannot be read, or there is none.
    """
    if config.examples is None:
        return Widened(config)
    kept, remarks = read_kept(config.examples), []
    for name in kept.examples.counts:
        if name in config.vocabulary.names:
            continue
        try:
            wider = Vocabulary.parse(with_classes(config.vocabulary.spec, [name]))
            config = replace(config, vocabulary=wider)
        except VocabularyError as error:
            remarks.append(f'{name}, which was taught, cannot join the vocabulary: {error}')
    return Widened(config, kept, remarks)
