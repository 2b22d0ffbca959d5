"""
What has seen examples: weights, attention and windows, as one text.

It is JSON with the names of `Segmenter.fingerprint`, so that two can be told apart in words.
"""

from collections.abc import Mapping
import json
from typing import Any

# As many letters of a digest as tell weights apart for people.
_SHOWN = 12


def difference(seen_by: str, model: str, here: str) -> str:
    """
    Return in what the fingerprint `seen_by` of examples differs from that of a model, `here`.

    `model` is what the model that has seen the examples is called, '' if that is not known.
    """
    there, this = _read(seen_by), _read(here)
    if not there or not this:
        return 'by another model, with another attention, or in other windows'
    found = [f'{name} {there.get(name)} in place of {this[name]}' for name in this
             if name != 'weights' and there.get(name) != this[name]]
    if there.get('weights') != this.get('weights'):
        called = f'{model}, ' if model else ''
        found.insert(0, f'by another model ({called}weights {there.get("weights"):.{_SHOWN}}, and '
                     f'not {this["weights"]:.{_SHOWN}})')
        return ', with '.join([found[0], ', '.join(found[1:])] if found[1:] else found)
    return f'with {", ".join(found)}'


def _read(fingerprint: str) -> Mapping[str, Any]:
    """Return what a fingerprint says, nothing if it is of another form."""
    try:
        said = json.loads(fingerprint)
    except ValueError:
        return {}
    return said if isinstance(said, dict) and isinstance(said.get('weights'), str) else {}
