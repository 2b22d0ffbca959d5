"""
Puts figures into a page that is otherwise written by hand.

What is made of a file stands between two lines, and nothing else of the page is touched:

    <!-- evaluate: comparison of demo -->
    <!-- end -->

What others have published needs no file, and is filled in wherever there is a place for it:

    <!-- evaluate: published -->
    <!-- end -->
"""

from collections.abc import Mapping
from collections.abc import Sequence
import json
from pathlib import Path
import re
import shutil
from typing import Any

from csa_ros.bench.timing import table
from csa_ros.evaluation.datasets.benchmarks import BENCHMARKS
from csa_ros.evaluation.datasets.protocol import RADSEG
from csa_ros.evaluation.datasets.published_radio import RADSEG_NOTE
from csa_ros.evaluation.report import comparison
from csa_ros.evaluation.report import disturbances
from csa_ros.evaluation.report import pointing
from csa_ros.evaluation.report.result import describe
from csa_ros.evaluation.report.result import describe_all

_END = '<!-- end -->'


class PageError(RuntimeError):
    """The page cannot be made; the message says what is missing."""


def update(path: Path, files: Sequence[Path]) -> None:
    """
    Put what `evaluate` has written as JSON into the page at `path`, and sheets beside it.

    A page that does not exist is begun. Raises PageError for a file of something else, and for a
    page without a place for it; OSError.
    """
    documents = [_read(file) for file in files]
    page = path.read_text() if path.exists() else '\n\n'.join(
        f'{_begin(document)}\n{_END}' for document in (*documents, PUBLISHED)) + '\n'
    if _begin(PUBLISHED) in page:
        page = filled(page, PUBLISHED, path.stem)
    for document, file in zip(documents, files):
        page = filled(page, document, path.stem)
        picture = file.with_suffix('.png')
        if document['kind'] in _WITH_PICTURE and picture.exists():
            target = path.with_name(_picture(document, path.stem))
            if target.resolve() != picture.resolve():
                shutil.copyfile(picture, target)
    path.write_text(page)


def filled(page: str, document: Mapping[str, Any], stem: str) -> str:
    """
    Return a page with the figures of one document in their place.

    `stem` is the page's name without its ending, which those of its pictures begin with. Raises
    PageError.
    """
    begin = _begin(document)
    place = re.compile(f'{re.escape(begin)}\n.*?{re.escape(_END)}', re.S)
    if not place.search(page):
        raise PageError(f'the page has no place for this: write the lines {begin} and {_END} '
                        'where it is to stand')
    content = f'{begin}\n\n{_text(document, stem)}\n\n{_END}'
    return place.sub(lambda _: content, page, count=1)


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text())
    except ValueError as error:
        raise PageError(f'{file} is no JSON: {error}') from error
    kind = document.get('kind') if isinstance(document, dict) else None
    if kind not in _KINDS:
        raise PageError(f'{file} is not of evaluate: name a result.json, a summary, a '
                        'comparison, disturbances or pointing')
    return document


def _begin(document: Mapping[str, Any]) -> str:
    of = f" of {document['dataset']}" if 'dataset' in document else ''
    return f"<!-- evaluate: {document['kind']}{of} -->"


def _picture(document: Mapping[str, Any], stem: str) -> str:
    return f"{stem}_{document['dataset']}.png"


def _text(document: Mapping[str, Any], stem: str) -> str:
    return _KINDS[document['kind']](document, stem)


def _comparison(document: Mapping[str, Any], stem: str) -> str:
    picture = f'![One picture as each attention labels it]({_picture(document, stem)})'
    return f'Made by `{document["command"]}`.\n\n{comparison.describe(document)}\n\n{picture}'


def _disturbances(document: Mapping[str, Any], stem: str) -> str:
    picture = f'![One street with each disturbance]({_picture(document, stem)})'
    return f'Made by `{document["command"]}`.\n\n{disturbances.describe(document)}\n\n{picture}'


def _pointing(document: Mapping[str, Any], stem: str) -> str:
    return f'Made by `{document["command"]}`.\n\n{pointing.describe(document)}'


def _published(*_: Any) -> str:
    """Return what is published of each attention on each data set, and where."""
    benchmarks = list(BENCHMARKS.values())
    rows = []
    for name in dict.fromkeys(name for benchmark in benchmarks for name in benchmark.published):
        figures = [benchmark.published.get(name) for benchmark in benchmarks]
        known = [figure for figure in figures if figure is not None]
        mean = f'{sum(known) / len(known):.1f}' if len(known) == len(figures) else ''
        rows.append([name, *('' if figure is None else f'{figure:.1f}' for figure in figures),
                     mean])
    sources = {name: source for benchmark in benchmarks
               for name, source in benchmark.sources.items()} | {RADSEG: RADSEG_NOTE}
    return '\n\n'.join([
        table(['mIoU', *(benchmark.name for benchmark in benchmarks), 'mean'], rows),
        '\n'.join(f'- {name}: {source}' for name, source in sources.items())])


# Stands for a document, where none is needed.
PUBLISHED = {'kind': 'published'}
_WITH_PICTURE = ('comparison', 'disturbances')
_KINDS = {
    'published': _published,
    'comparison': _comparison,
    'disturbances': _disturbances,
    'pointing': _pointing,
    'summary': lambda document, _: describe_all(document['results'], document['failed']),
    'result': lambda document, _: describe(document),
}
