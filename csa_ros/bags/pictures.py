"""Masks as files of pictures instead of messages: PNG, or MP4 to look at."""

from collections.abc import Iterator
import json
import os
from pathlib import Path
from typing import Any

from csa_ros.bags.jobs import Job
from csa_ros.bags.labelling import Labeller
from csa_ros.bags.video import encode
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


def assemble_png(parts: list[tuple[Path, dict[str, Any]]], job: Job) -> None:
    """
    Move the pictures of all parts to `OUT/CAMERA/OUTPUT/SECONDS.NANOSECONDS.png`, by their stamp.

    A second picture of the same stamp gets `_2`. After an interruption it may be called again.
    """
    for topic, camera in job.cameras.items():
        names = _names(parts, topic)
        for output in job.request.outputs:
            target = job.out / camera / output
            target.mkdir(parents=True, exist_ok=True)
            for (folder, number, _), name in zip(_frames(parts, topic), names):
                source = folder / camera / output / f'{number}.png'
                if source.exists():
                    os.replace(source, target / name)
    _move_legend(parts, job)


def assemble_mp4(parts: list[tuple[Path, dict[str, Any]]], job: Job) -> None:
    """
    Encode the pictures of all parts as `OUT/CAMERA/OUTPUT.mp4`.

    A video has one rate, which is the median of the recording's, and one size, that of the first
    picture. Raises OSError if it cannot be written.
    """
    for topic, camera in job.cameras.items():
        frames = list(_frames(parts, topic))
        for output in job.request.outputs:
            if frames:
                pictures = (_read(folder, Path(camera, output, f'{number}.png'))
                            for folder, number, _ in frames)
                draft = parts[0][0] / 'video.mp4'
                encode(draft, pictures, _rate([time for _, _, time in frames]))
                (job.out / camera).mkdir(parents=True, exist_ok=True)
                os.replace(draft, job.out / camera / f'{output}.mp4')
    _move_legend(parts, job)


def _move_legend(parts: list[tuple[Path, dict[str, Any]]], job: Job) -> None:
    legend = parts[0][0] / _LEGEND
    if legend.exists():
        os.replace(legend, job.out / _LEGEND)


def _frames(parts: list[tuple[Path, dict[str, Any]]], topic: str
            ) -> Iterator[tuple[Path, int, int]]:
    """Yield the folder, number and time of all pictures of a topic, in order."""
    for folder, record in parts:
        for number, (time, _, _) in enumerate(record['frames'][topic]):
            yield folder, number, time


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


def _read(part: Path, name: Path) -> np.ndarray:
    picture = cv2.imread(str(part / name))
    if picture is None:
        raise OSError(f'{part / name} has been damaged: delete {part} and run the same command '
                      'again')
    return picture
