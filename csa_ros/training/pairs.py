"""Pictures and their captions, as a file lists them."""

from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import csv
from dataclasses import dataclass
import io
import json
from pathlib import Path
from typing import Any

from csa_ros.training.errors import TrainingError

# The first is ours, the others are those of Hugging Face's and open_clip's lists.
PICTURE_COLUMNS = ('picture', 'image', 'file_name', 'filepath')
CAPTION_COLUMNS = ('caption', 'captions', 'text', 'title')
SUFFIXES = ('.csv', '.jsonl')
_EXAMPLE_CSV = 'picture,caption'
_EXAMPLE_JSONL = '{"picture": "front.jpg", "captions": ["a red car", "a car on a road"]}'
_SHOWN = 3


@dataclass(frozen=True)
class Pair:
    """A picture, by its name in the list, and its captions."""

    name: str
    picture: Path
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """What a line of a list says; `line` is its number from 1."""

    line: int
    name: str
    captions: tuple[str, ...]


def read_pairs(folder: Path, captions: Path) -> tuple[list[Pair], int]:
    """
    Return the pictures of a list with their captions, in its order, and how often it repeats.

    `captions` is a CSV file with the columns `picture` and `caption` (others that begin with
    `caption` hold further ones), or a JSONL file with an object a line, whose `caption` or
    `captions` is a text or a list of texts. Names are relative to `folder`. A picture may have
    several rows; a caption that it has already is repeated, and left out. Raises TrainingError.
    """
    if not folder.is_dir():
        reason = 'is no folder' if folder.exists() else 'does not exist'
        raise TrainingError(f'--images {folder} {reason}: name the folder that holds the pictures')
    found: dict[str, dict[str, None]] = {}
    repeated = 0
    for row in _read_rows(captions):
        own = found.setdefault(row.name, {})
        for caption in row.captions:
            repeated += caption in own
            own[caption] = None
    if not found:
        raise TrainingError(f'{captions} lists no picture: write a line for each')
    pairs = [Pair(name, folder / name, tuple(own)) for name, own in found.items()]
    missing = [pair.name for pair in pairs if not pair.picture.is_file()]
    if missing:
        raise TrainingError(
            f'{len(missing)} of the {len(pairs)} pictures of {captions} are not in {folder}: '
            f'{_some(missing)}. Names are relative to the folder; put the files there, or remove '
            'their lines')
    return pairs, repeated


def _read_rows(path: Path) -> Iterator[Row]:
    if path.suffix.lower() not in SUFFIXES:
        raise TrainingError(f'--captions {path} ends in {path.suffix or "nothing"!r}: write the '
                            f'captions as {" or ".join(SUFFIXES)}')
    try:
        # A spreadsheet puts a mark of the byte order first.
        text = path.read_text(encoding='utf-8-sig')
    except OSError as error:
        raise TrainingError(f'--captions {path} cannot be read: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise TrainingError(f'{path} is no UTF-8, at byte {error.start}: save it as UTF-8'
                            ) from error
    read = _read_csv if path.suffix.lower() == '.csv' else _read_jsonl
    try:
        yield from read(text)
    except (csv.Error, ValueError) as error:
        raise TrainingError(f'{path}, {error}') from error


def _read_csv(text: str) -> Iterator[Row]:
    """Yield the rows of a CSV; ValueError says what is wrong with which line."""
    lines = csv.reader(io.StringIO(text, newline=''), strict=True)
    header = [cell.strip().lower() for cell in next(lines, [])]
    pictures = [i for i, name in enumerate(header) if name in PICTURE_COLUMNS]
    captions = [i for i, name in enumerate(header)
                if name in CAPTION_COLUMNS or name.startswith('caption')]
    if len(pictures) != 1 or not captions:
        raise ValueError(
            f'line 1: {",".join(header)[:80]!r} does not name the columns. Begin with a line such '
            f'as {_EXAMPLE_CSV!r}, with commas between; a column for the picture is one of '
            f'{", ".join(PICTURE_COLUMNS)}, those for captions begin with caption')
    picture, = pictures
    for cells in lines:
        line = lines.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise ValueError(f'line {line}: it has {len(cells)} cells and the first line names '
                             f'{len(header)} columns: put a caption with a comma into "quotes"')
        given = [cells[i] for i in captions if cells[i].strip()]
        yield _row(line, cells[picture], given or [''])


def _read_jsonl(text: str) -> Iterator[Row]:
    """Yield the rows of a JSONL; ValueError says what is wrong with which line."""
    for number, line in enumerate(text.split('\n'), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise ValueError(f'line {number}: {line[:60]!r} is no JSON ({error}): write an object '
                             f'a line, such as {_EXAMPLE_JSONL}') from error
        if not isinstance(fields, dict):
            raise ValueError(f'line {number}: {line[:60]!r} is no object: write {_EXAMPLE_JSONL}')
        given = _field(number, fields, CAPTION_COLUMNS)
        yield _row(number, _field(number, fields, PICTURE_COLUMNS),
                   given if isinstance(given, list) else [given])


def _field(line: int, fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if name in fields:
            return fields[name]
    raise ValueError(f'line {line}: it has {", ".join(fields) or "nothing"}, and no {names[0]}: '
                     f'write {_EXAMPLE_JSONL}')


def _row(line: int, name: Any, captions: Sequence[Any]) -> Row:
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f'line {line}: the name of the picture is {name!r}: write one')
    if not captions:
        raise ValueError(f'line {line}: {name} has no caption: write one, or remove the line')
    for caption in captions:
        if not isinstance(caption, str):
            raise ValueError(f'line {line}: a caption of {name} is {caption!r}: write a text')
        if not caption.strip():
            raise ValueError(f'line {line}: a caption of {name} is empty: write what the picture '
                             'shows, or remove it')
    return Row(line, name.strip(), tuple(' '.join(caption.split()) for caption in captions))


def _some(names: Iterable[str]) -> str:
    names = list(names)
    rest = f' and {len(names) - _SHOWN} more' if len(names) > _SHOWN else ''
    return ', '.join(names[:_SHOWN]) + rest
