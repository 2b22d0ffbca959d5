"""Sentences that words are put into, as parameters have them."""

from typing import Any

from csa_ros.model.text import PromptError
from csa_ros.model.text import TEMPLATES
from csa_ros.model.text import templates
from csa_ros.parameters.names import are_strings
from csa_ros.vocabulary import unquote


def read_prompts(value: Any) -> tuple[str, ...]:
    """Return templates, of which the value may be the name; raise PromptError."""
    if not isinstance(value, str) and not are_strings(value):
        shown = value if isinstance(value, (bool, int, float)) else list(value)
        raise PromptError(f'must be {", ".join(TEMPLATES)}, or a list of strings, not {shown}')
    if isinstance(value, str):
        if value.lstrip().startswith('['):
            # A list with a number or a boolean in it arrives as its own source text.
            raise PromptError(f'{value!r} holds something that is no text; quote every template')
        return templates(unquote(value))
    return templates(value[0] if len(value) == 1 else tuple(value))
