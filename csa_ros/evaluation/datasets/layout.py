"""Finding a data set in its official folders, and seeing whether it is all there."""

from collections.abc import Iterator
from dataclasses import dataclass
import os
from pathlib import Path

from csa_ros import urls
from csa_ros.evaluation.datasets.benchmark import BenchmarkError
from csa_ros.evaluation.datasets.files import Picture


@dataclass(frozen=True)
class Form:
    """
    One form of a data set's annotations.

    The annotation of a picture is named after it, with `suffix` in place of the picture's;
    `values` says what is stored in it, see `csa_ros.evaluation.datasets.files.value_table`.
    """

    suffix: str
    values: bytes


@dataclass(frozen=True)
class Layout:
    """
    Where the files of a data set are; called with a folder, it lists the samples below.

    `places` are the folders below the one that is given, in which the data set may be, tried in
    this order; `images` and `annotations` are where its files may be in there, and `forms` what
    annotations may look like, the preferred first. `names` is the list of the pictures that
    count, empty if all do; `counts` are the numbers of pictures that official releases have, and
    `source` says where they are to be had and how to unpack them.

    A wrong number is an error, not a warning: it mostly comes of an unpacking that was
    interrupted, and a figure for part of a data set looks like any other.
    """

    title: str
    places: tuple[str, ...]
    images: tuple[str, ...]
    annotations: tuple[str, ...]
    forms: tuple[Form, ...]
    counts: tuple[int, ...]
    source: str
    names: str = ''
    image_suffix: str = '.jpg'

    def __call__(self, root: Path | None) -> list[Picture]:
        """
        List the samples below a folder, in the order of their names.

        Raises BenchmarkError if the data set is not there, or only in part.
        """
        if root is None:
            raise BenchmarkError(
                f'{self.title} is read from files: give the folder that holds the data sets')
        if not _is_folder(root):
            raise BenchmarkError(f'{root} is no folder: give the one that holds the data sets')
        problems = []
        for place, images in self._found(root):
            try:
                return self._samples(place, images)
            except BenchmarkError as problem:
                problems.append(str(problem))
        if problems:
            raise BenchmarkError(f'{"; ".join(problems)}. {self.source}')
        raise BenchmarkError(
            f'{self.title} is not below {root}, where there is {_contents(root)}; looked for '
            f'{", ".join(self._looked_for())}. {self.source}')

    def _looked_for(self) -> Iterator[str]:
        for place in self.places:
            for images in self.images:
                yield (Path(place) / images).as_posix()

    def _found(self, root: Path) -> Iterator[tuple[Path, Path]]:
        """Return each place with its folder of pictures, where there are both."""
        for place in self.places:
            for images in self.images:
                folder = root / place / images
                if _is_folder(folder):
                    yield root / place, folder

    def _samples(self, place: Path, images: Path) -> list[Picture]:
        there = _named(images, self.image_suffix)
        names = self._names(place, there)
        missing = names - there
        if missing:
            raise BenchmarkError(
                f'{place / self.names} names {_count(len(names), "picture")}, but '
                f'{_count(len(missing), "of them is", "of them are")} not in {images}, such as '
                f'{min(missing)}{self.image_suffix}')
        if len(names) not in self.counts:
            raise BenchmarkError(
                f'{place / self.names if self.names else images} has '
                f'{_count(len(names), "picture")} where {self.title} has '
                f'{" or ".join(map(str, self.counts))}: unpack it again (to evaluate fewer, use '
                '--limit)')
        folder, form = self._form(place, images, names)
        return [Picture(name, images / f'{name}{self.image_suffix}',
                        folder / f'{name}{form.suffix}', form.values)
                for name in sorted(names)]

    def _names(self, place: Path, there: set[str]) -> set[str]:
        if not self.names:
            return there
        try:
            with urls.reached(place):
                return set((place / self.names).read_text(encoding='utf-8').split())
        except (OSError, UnicodeDecodeError) as error:
            raise BenchmarkError(
                f'{place} has pictures, but the list of those that count, {self.names}, cannot be '
                f'read: {error}') from error

    def _form(self, place: Path, images: Path, names: set[str]) -> tuple[Path, Form]:
        """Return the first folder and form in which each picture has its annotation."""
        folders = [place / name for name in self.annotations if _is_folder(place / name)]
        best = None
        for folder in folders:
            for form in self.forms:
                missing = names - _named(folder, form.suffix)
                if not missing:
                    return folder, form
                if best is None or len(missing) < len(best[0]):
                    best = missing, folder, form
        if best is None or best[0] == names:
            looked_for = ' or '.join(
                f'{place / folder}/*{form.suffix}'
                for folder in self.annotations for form in self.forms)
            raise BenchmarkError(f'{images} has pictures, but there are no annotations of them, '
                                 f'{looked_for}')
        missing, folder, form = best
        raise BenchmarkError(
            f'{folder} has no annotation of {_count(len(missing), "picture")} of {len(names)}, '
            f'such as {min(missing)}{form.suffix}: unpack it again')


def _is_folder(path: Path) -> bool:
    if urls.is_remote(path):
        with urls.reached(path):
            return path.is_dir()
    return os.path.isdir(path)


def _named(folder: Path, suffix: str) -> set[str]:
    """Return the names, without suffix, of the files of a folder and those below."""
    if urls.is_remote(folder):
        below = f'{urls.within(folder)}/'
        with urls.reached(folder):
            found = urls.file_system(folder).find(below)
        return {name[len(below):-len(suffix)] for name in found
                if name.endswith(suffix) and not name.rpartition('/')[2].startswith('.')}
    names: set[str] = set()
    # Large data sets often are links to where there was room.
    for place, _, files in os.walk(folder, onerror=_refuse, followlinks=True):
        inside = Path(place).relative_to(folder)
        # Finder leaves a hidden file beside each one that it unpacks.
        names.update((inside / file).as_posix()[:-len(suffix)] for file in files
                     if file.endswith(suffix) and not file.startswith('.'))
    return names


def _refuse(error: OSError) -> None:
    raise BenchmarkError(f'{error.filename} cannot be read: {error.strerror}') from error


def _contents(folder: Path, limit: int = 10) -> str:
    """Return what is in a folder, for a message."""
    try:
        with urls.reached(folder):
            names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        return f'nothing to be read ({error.strerror or error})'
    shown = names[:limit] + ['...'] * (len(names) > limit)
    return ', '.join(shown) or 'nothing'


def _count(number: int, one: str, many: str = '') -> str:
    return f'{number} {one if number == 1 else many or one + "s"}'
