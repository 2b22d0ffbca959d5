"""Lists of names: a list of strings, or one string with commas between them."""

from collections.abc import Iterable
from typing import Any

from csa_ros.parameters.errors import ParameterError
from csa_ros.vocabulary import split_text
from csa_ros.vocabulary import unquote
from csa_ros.vocabulary import VocabularyError


def read_names(parameter: str, value: Any) -> tuple[str, ...]:
    """
    Return the names, each of which may be there once; none for an empty list or string.

    Raises ParameterError, which begins with the name of the parameter.
    """
    try:
        # A list in which YAML takes some names for booleans arrives as its own source text.
        names = split_text(value) if isinstance(value, str) else value
    except VocabularyError as error:
        raise ParameterError(f'{parameter}: {error}') from error
    # An empty list arrives as one of booleans or bytes.
    if not are_strings(names):
        shown = value if isinstance(value, (bool, int, float)) else list(value)
        raise ParameterError(f'{parameter} is {shown!r}: it must be a list of names, or one '
                             'string with commas between them; quote what YAML takes for numbers')
    names = tuple(unquote(name).strip() for name in names)
    for name in names:
        if not name:
            raise ParameterError(f'{parameter} has an empty name; drop the extra comma')
        if names.count(name) > 1:
            raise ParameterError(f'{parameter} has {name!r} {names.count(name)} times; drop the '
                                 'others')
    return names


def are_strings(value: Any) -> bool:
    """Return whether a value is a string or holds nothing but strings."""
    return isinstance(value, Iterable) and all(isinstance(item, str) for item in value)
