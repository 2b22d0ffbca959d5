"""What the arguments of requests are checked by."""

from typing import Any
from typing import TypeGuard

# What fits into the integers of a parameter.
LARGEST = 2**63 - 1


class ActionError(ValueError):
    """A request makes no sense; the message says what is wrong with it."""


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a finite number that a parameter can have."""
    # NaN is not less than anything.
    return type(value) in (int, float) and abs(value) <= LARGEST
