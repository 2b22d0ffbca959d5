"""Files as whoever reads them sees them: those in a folder that are meant, and whole ones."""

from collections.abc import Callable
from collections.abc import Sequence
import os
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


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """
    Write a file that appears, or takes the place of an older one, when it is whole.

    `write` writes the draft that it is given, which lies beside the file. What it raises passes
    through, as OSErrors do; what was there before is then left as it is.
    """
    draft = path.with_name(f'.{path.name}.{os.getpid()}')
    try:
        write(draft)
        with draft.open('rb') as file:
            # A machine that loses its power keeps the name of a file before what is in it.
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
