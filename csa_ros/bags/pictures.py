"""Masks as files of pictures instead of messages: PNG, or MP4 to look at."""

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any

from csa_ros.bags.jobs import Job
from csa_ros.bags.labelling import Labeller
from csa_ros.bags.video import encode
from csa_ros.bags.workspace import Workspace
from csa_ros.segmenter import Result
import cv2
import numpy as np
from rosbags.interfaces import Connection

_SECOND = 10**9
# Of the pictures that a video is made from: they are gone soon.
_FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_LEGEND = 'legend.json'
# MPEG-4 has no more than 65535 ticks a second, which rules out a higher rate with two decimals.
_MOST_FRAMES = 240.0


class PicturePart:
    """
    One part of a result in pictures: `folder/CAMERA/OUTPUT/N.png`, N counting from 0.

    `record` gets what `assemble_png` and `assemble_mp4` need of them.
    """

    def __init__(self, folder: Path, record: dict[str, Any], job: Job,
                 labeller: Labeller) -> None:
        self._folder = folder
        self._cameras = job.cameras
        self._labeller = labeller
        self._frames = record['frames'] = {topic: [] for topic in job.cameras}
        self._options = _FAST if job.request.form == 'mp4' else []

    def __enter__(self) -> 'PicturePart':
        (self._folder / _LEGEND).write_text(json.dumps(self._labeller.legend, indent=1) + '\n')
        for camera in self._cameras.values():
            for output in self._labeller.outputs:
                (self._folder / camera / output).mkdir(parents=True)
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def copy(self, connection: Connection, time: int, data: bytes) -> None:
        """Leave out a message of the recording."""

    def add(self, topic: str, time: int, header: Any, result: Result) -> None:
        """Write the masks of an image of `topic`, which was recorded at `time`."""
        frames = self._frames[topic]
        for output, mask in self._labeller.masks(result).items():
            path = self._folder / self._cameras[topic] / output / f'{len(frames)}.png'
            picture = cv2.cvtColor(mask, cv2.COLOR_RGB2BGR) if mask.ndim == 3 else mask
            if not cv2.imwrite(str(path), picture, self._options):
                raise OSError(f'{path} cannot be written; is the disk full?')
        frames.append([time, header.stamp.sec, header.stamp.nanosec])


def assemble_png(parts: list[tuple[Path, dict[str, Any]]], job: Job, space: Workspace) -> None:
    """
    Move the pictures of all parts to `OUT/CAMERA/OUTPUT/SECONDS.NANOSECONDS.png`, by their stamp.

    A second picture of the same stamp gets `_2`. After an interruption it may be called again.
    """
    for topic, camera in job.cameras.items():
        names = _names(parts, topic)
        numbers = [(folder, number) for folder, record in parts
                   for number in range(len(record['frames'][topic]))]
        for output in job.request.outputs:
            space.move([(folder / camera / output / f'{number}.png', name)
                        for (folder, number), name in zip(numbers, names)],
                       job.out / camera / output)
    _move_legend(parts, job, space)


def assemble_mp4(parts: list[tuple[Path, dict[str, Any]]], job: Job, space: Workspace) -> None:
    """
    Encode the pictures of all parts as `OUT/CAMERA/OUTPUT.mp4`.

    A video has one rate, which is the median of the recording's, and one size, that of the first
    picture. Raises OSError if it cannot be written.
    """
    for topic, camera in job.cameras.items():
        times = [time for _, record in parts for time, _, _ in record['frames'][topic]]
        for output in job.request.outputs:
            if times:
                with space.written(job.out / camera / f'{output}.mp4') as draft:
                    encode(draft, _read(parts, topic, Path(camera, output), space), _rate(times))
    _move_legend(parts, job, space)


def _move_legend(parts: list[tuple[Path, dict[str, Any]]], job: Job, space: Workspace) -> None:
    space.move([(parts[0][0] / _LEGEND, _LEGEND)], job.out)


def _names(parts: list[tuple[Path, dict[str, Any]]], topic: str) -> list[str]:
    names: list[str] = []
    seen: dict[str, int] = {}
    for _, record in parts:
        for _, sec, nanosec in record['frames'][topic]:
            stamp = f'{sec}.{nanosec:09d}'
            seen[stamp] = seen.get(stamp, 0) + 1
            names.append(f'{stamp}.png' if seen[stamp] == 1 else f'{stamp}_{seen[stamp]}.png')
    return names


def _rate(times: list[int]) -> float:
    """Return the pictures per second of recording times in nanoseconds."""
    period = float(np.median(np.diff(times))) if len(times) > 1 else _SECOND
    return min(max(round(_SECOND / max(period, 1), 2), 0.1), _MOST_FRAMES)


def _read(parts: list[tuple[Path, dict[str, Any]]], topic: str, name: Path, space: Workspace
          ) -> Iterator[np.ndarray]:
    """Yield the pictures of a topic, in order, from the folders of a name in those of parts."""
    for part, record in parts:
        with space.fetched(part / name) as folder:
            for number in range(len(record['frames'][topic])):
                picture = cv2.imread(str(folder / f'{number}.png'))
                if picture is None:
                    raise OSError(f'{part / name / f"{number}.png"} has been damaged: '
                                  f'{space.again(part)}')
                yield picture
