"""What is shown with the next call of the service `~/teach`."""

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
import math
from numbers import Real
from pathlib import Path
from typing import Any

from csa_ros.parameters.cameras import CameraTopics
from csa_ros.parameters.errors import ParameterError
from csa_ros.vocabulary import Entry
from csa_ros.vocabulary import split_text
from csa_ros.vocabulary import VocabularyError

# Of a polygon in teach_region: an outline to the pixel of most things has fewer.
MAX_CORNERS = 1000
_REGIONS = ('it must be four numbers, x, y, width and height of a box in pixels, as in [120, 80, '
            '64, 48], or an even number of six or more, x and y of each corner of a polygon, or '
            'empty for all of the image')


@dataclass(frozen=True)
class Shown:
    """
    What is shown: the class that it is of, where in the picture, and by which camera.

    `name` is '' if it was not given. `region` is a box (x, y, width, height) in pixels of the
    image, or corners (x, y) of a polygon, empty for all of it. `camera` is '' for the only one.
    """

    name: str
    region: tuple[float, ...] | tuple[tuple[float, float], ...]
    camera: str


def read_shown(values: Mapping[str, Any], cameras: Sequence[CameraTopics]) -> Shown:
    """Return what `teach_name`, `teach_region` and `teach_camera` say; raise ParameterError."""
    camera, names = values['teach_camera'].strip(), [camera.name for camera in cameras]
    if camera and camera not in names:
        known = ', '.join(filter(None, names)) or 'one without a name'
        raise ParameterError(f'teach_camera is {camera!r}, which is not in cameras: use one of '
                             f"{known}, or '' where there is only one")
    return Shown(read_name(values['teach_name'], 'teach_name'),
                 _read_region(values['teach_region']), camera)


def read_path(values: Mapping[str, Any]) -> Path | None:
    """Return what `examples` says, None for no file; raise ParameterError."""
    if not values['examples']:
        return None
    try:
        return Path(values['examples']).expanduser()
    except RuntimeError as error:
        raise ParameterError(f'examples is {values["examples"]!r}: {error}') from error


def read_name(text: str, what: str) -> str:
    """Return a name as the vocabulary would have it, '' for none; `what` holds it in an error."""
    if not text.strip():
        return ''
    try:
        return Entry(text, (text,)).name
    except VocabularyError as error:
        raise ParameterError(f'{what}: {error}') from error


def _read_region(value: Any) -> tuple[float, ...] | tuple[tuple[float, float], ...]:
    """Return a region in the form that COCO's annotations have it: a box, or a polygon."""
    numbers = _numbers(value)
    if numbers is None or not all(map(math.isfinite, numbers)):
        shown = value if isinstance(value, (str, bool, Real)) else list(value)
        raise ParameterError(f'teach_region is {shown!r:.80}: {_REGIONS}')
    if len(numbers) == 4:
        if min(numbers[2:]) <= 0:
            raise ParameterError(f'teach_region is {list(numbers)}: its width and height, the '
                                 'last two, must be above 0')
        return numbers
    if len(numbers) % 2 or 0 < len(numbers) < 6:
        raise ParameterError(f'teach_region has {len(numbers)} numbers, {list(numbers)!r:.60}: '
                             f'{_REGIONS}')
    if len(numbers) > 2 * MAX_CORNERS:
        raise ParameterError(f'teach_region has {len(numbers) // 2} corners, more than '
                             f"{MAX_CORNERS}: leave out those that hardly matter, as OpenCV's "
                             'approxPolyDP does')
    return tuple(zip(numbers[::2], numbers[1::2]))


def _numbers(value: Any) -> tuple[float, ...] | None:
    """Return a list of numbers, or one string with commas between them; None for all else."""
    try:
        items = split_text(value) if isinstance(value, str) else list(value)
        if any(isinstance(item, (bool, bytes)) for item in items):
            return None
        return tuple(float(item) for item in items)
    except (TypeError, ValueError, OverflowError):
        return None
