"""
What phrases found in a recording: a line for each hit, and a sheet of the best.

    OUT/found.jsonl    {"phrase", "score", "box", "area", "topic", "time", "stamp", "frame_id"}
    OUT/found.png      the best hits of each phrase, those of one second once

`time` is that of the recording in nanoseconds, `stamp` the image's own.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from heapq import nlargest
import json
from pathlib import Path
from typing import Any

from csa_ros import urls
from csa_ros.bags.jobs import Job
from csa_ros.bags.workspace import Workspace
from csa_ros.drawing.contact_sheet import contact_sheet
from csa_ros.drawing.contact_sheet import thumbnail
from csa_ros.finding.regions import Region
import cv2
import numpy as np

FOUND, SHEET = 'found.jsonl', 'found.png'
# Of a phrase, on the sheet.
MOST_SHOWN = 8
_COLUMNS, _WIDTH = 4, 400
_SECOND = 10**9
# Hits of one camera with no more between them are one span of time.
_PAUSE = _SECOND
_BOX = (255, 0, 0)


@dataclass(frozen=True)
class Span:
    """
    A time through which a camera saw what a phrase says.

    `start`, `end` and `best`, which is that of the highest `score`, are in seconds since the
    recording began; `hits` is the number of regions.
    """

    phrase: str
    topic: str
    start: float
    end: float
    best: float
    score: float
    hits: int


@dataclass(frozen=True, eq=False)
class _Shown:
    """The best hit of a phrase in a second, with its picture as PNG."""

    score: float
    time: int
    topic: str
    png: bytes


class FindsPart:
    """The finds of one part of a result, in its `folder`; `record` tells what is on its sheet."""

    def __init__(self, folder: Path, record: dict[str, Any], job: Job) -> None:
        self._folder = folder
        self._record = record
        self._job = job
        # By phrase and by second of the recording.
        self._best: dict[str, dict[int, _Shown]] = {
            phrase: {} for phrase in job.request.config.find}

    def __enter__(self) -> 'FindsPart':
        self._file = open(self._folder / FOUND, 'w')
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()
        shown = self._record['shown'] = []
        for phrase, seconds in self._best.items():
            for each in nlargest(MOST_SHOWN, seconds.values(), key=lambda each: each.score):
                (self._folder / f'found_{len(shown)}.png').write_bytes(each.png)
                shown.append([phrase, each.score, each.time, each.topic])

    def add(self, topic: str, time: int, header: Any, rgb: np.ndarray, found: Sequence[Region]
            ) -> None:
        """Write what was found in an image of `topic`, which was recorded at `time`."""
        for region in found:
            self._file.write(json.dumps({
                'phrase': region.name, 'score': round(region.score, 4), 'box': list(region.box),
                'area': region.area, 'topic': topic, 'time': time,
                'stamp': {'sec': header.stamp.sec, 'nanosec': header.stamp.nanosec},
                'frame_id': header.frame_id}, ensure_ascii=False) + '\n')
            seconds = self._best[region.name]
            second = (time - self._job.start) // _SECOND
            if second not in seconds or region.score > seconds[second].score:
                seconds[second] = _Shown(region.score, time, topic, _picture(rgb, region))
                if len(seconds) > 2 * MOST_SHOWN:
                    del seconds[min(seconds, key=lambda second: seconds[second].score)]


def assemble(parts: Sequence[tuple[Path, dict[str, Any]]], job: Job, space: Workspace) -> None:
    """
    Put the lines and the best pictures of all parts together.

    After an interruption it may be called again.
    """
    with ExitStack() as stack:
        folders = {part.name: stack.enter_context(space.fetched(part, 'found*'))
                   for part, _ in parts}
        with space.written(job.out / FOUND) as draft, open(draft, 'wb') as file:
            for part, _ in parts:
                file.write((folders[part.name] / FOUND).read_bytes())
        captions, pictures = [], []
        for caption, place in _best(parts, job):
            picture = cv2.imread(str(folders[place.parent.name] / place.name))
            if picture is None:
                part = parts[0][0].parent / place.parent
                raise OSError(f'{part / place.name} has been damaged: {space.again(part)}')
            captions.append(caption)
            pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        if pictures:
            sheet = contact_sheet(captions, pictures, _COLUMNS)
            with space.written(job.out / SHEET) as draft:
                if not cv2.imwrite(str(draft), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
                    raise OSError(f'{draft} cannot be written; is the disk full?')


def _best(parts: Sequence[tuple[Path, dict[str, Any]]], job: Job) -> Iterator[tuple[str, Path]]:
    """Yield the captions of the best pictures, and where they are in the folder of all parts."""
    for phrase in job.request.config.find:
        best: dict[int, tuple[float, int, Path]] = {}
        for folder, record in parts:
            for number, (name, score, time, _) in enumerate(record['shown']):
                second = (time - job.start) // _SECOND
                if name == phrase and score > best.get(second, (0.0,))[0]:
                    best[second] = score, time, Path(folder.name, f'found_{number}.png')
        for score, time, place in nlargest(MOST_SHOWN, best.values()):
            yield f'{phrase}: {score:.2f}, {(time - job.start) / _SECOND:.1f} s', place


def spans(job: Job) -> list[Span]:
    """Return when each phrase was found in a recording, by phrase and time."""
    return list(_spans(job))


def _spans(job: Job) -> Iterator[Span]:
    with urls.reached(job.out), (job.out / FOUND).open() as file:
        hits = [json.loads(line) for line in file]
    order = {phrase: number for number, phrase in enumerate(job.request.config.find)}
    hits.sort(key=lambda hit: (order[hit['phrase']], hit['topic'], hit['time']))
    same: list[dict[str, Any]] = []
    for hit in hits:
        if same and ((hit['phrase'], hit['topic']) != (same[-1]['phrase'], same[-1]['topic'])
                     or hit['time'] - same[-1]['time'] > _PAUSE):
            yield _span(same, job)
            same = []
        same.append(hit)
    if same:
        yield _span(same, job)


def _span(hits: Sequence[dict[str, Any]], job: Job) -> Span:
    best = max(hits, key=lambda hit: hit['score'])
    start, end, at = ((hit['time'] - job.start) / _SECOND for hit in (hits[0], hits[-1], best))
    return Span(best['phrase'], best['topic'], start, end, at, best['score'], len(hits))


def _picture(rgb: np.ndarray, region: Region) -> bytes:
    """Return an image with the box of a region, small and as a PNG file."""
    small = thumbnail(rgb, _WIDTH)
    scale = _WIDTH / rgb.shape[1]
    left, top, width, height = (round(scale * side) for side in region.box)
    cv2.rectangle(small, (left, top), (left + width - 1, top + height - 1), _BOX, 2)
    return cv2.imencode('.png', cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes()
