"""What is in a folder, as whoever filled it sees it."""

from collections.abc import Sequence
from pathlib import Path


def visible_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """
    Return the files of a folder whose names end in one of the suffixes, sorted.

    `suffixes` are in lower case and with their dot; the files' case does not matter. Hidden files
    are left out: macOS puts `._front.png` beside `front.png` on disks and into archives, which
    holds no picture. So are folders, whatever their names. An OSError passes through.
    """
    return sorted(path for path in folder.iterdir()
                  if not path.name.startswith('.') and path.suffix.lower() in suffixes
                  and path.is_file())
