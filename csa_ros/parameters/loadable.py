"""Values that `ros2 param load` reads back from what `ros2 param dump` has written of them."""

from typing import Any

from csa_ros.vocabulary import split_text
from csa_ros.vocabulary import VocabularyError
import yaml


def loadable(value: Any) -> Any:
    """
    Return words, a string or a list of strings, in a form that survives being dumped and loaded.

    `ros2 param load` reads the text of each value as YAML once more: it ends with an error at
    `@indoor`, takes `no` for a boolean and `1` for a number. Such a string becomes the list of its
    entries, which means the same; all others stay as they are.
    """
    if not isinstance(value, str) or _is_read_as_text(value):
        return value
    try:
        return [entry.strip() for entry in split_text(value)]
    except VocabularyError:
        return value


def _is_read_as_text(text: str) -> bool:
    """Return whether rclpy's `get_parameter_value` gives a string, or a list of words."""
    try:
        read = yaml.safe_load(text)
    except yaml.parser.ParserError:
        return True
    except (yaml.YAMLError, ValueError):
        return False
    return read is None or isinstance(read, (str, list))
