"""
Clips of actions in a folder: a folder for each action, in it videos, or folders of pictures.

    clips/wave/1.mp4
    clips/wave/2/0001.jpg ...
    clips/nod/1.mp4 ...
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from csa_ros.actions.errors import ActionError
from csa_ros.actions.frames import fit
from csa_ros.files import visible_files
from csa_ros.picture_files import PictureError
from csa_ros.picture_files import read_picture
from csa_ros.picture_files import SUFFIXES
import cv2
import numpy as np
import torch
from torch import Tensor

VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.webm')


@dataclass(frozen=True)
class Clip:
    """A video, or a folder of pictures, of an action with a name."""

    path: Path
    action: str


@dataclass(frozen=True, eq=False)
class Windows:
    """
    Frames of clips at the size of a tower, (N, frames, 3, size, size) uint8.

    `labels` (N,) int64 are the indices of `names`.
    """

    pixels: Tensor
    labels: Tensor
    names: tuple[str, ...]


def find_clips(folder: Path, least: int) -> list[Clip]:
    """
    Return the clips in the folders of a folder, each of which has the name of its action.

    Raises ActionError for fewer than 2 actions, and an action with fewer than `least` clips.
    """
    if not folder.is_dir():
        raise ActionError(f'there is no folder {folder}: name one that holds a folder of clips '
                          'for each action')
    clips: list[Clip] = []
    actions = [each for each in sorted(folder.iterdir())
               if each.is_dir() and not each.name.startswith('.')]
    for action in actions:
        found = [*visible_files(action, VIDEOS),
                 *(each for each in sorted(action.iterdir())
                   if each.is_dir() and visible_files(each, SUFFIXES))]
        if len(found) < least:
            raise ActionError(
                f'{action} has {len(found)} clips: an action needs {least}; add videos '
                f'({", ".join(VIDEOS)}) or folders of pictures, or remove the folder')
        clips += (Clip(path, action.name) for path in found)
    if len(actions) < 2:
        raise ActionError(f'{folder} has the clips of {len(actions)} actions: they are learnt by '
                          'telling at least 2 apart; make a folder for each')
    return clips


def read_clips(clips: Sequence[Clip], frames: int, size: int,
               progress: Callable[[Sequence[Clip]], Iterator[Clip]]) -> Windows:
    """
    Return `frames` frames of each clip: the middle of each of as many equal parts.

    `progress` yields the clips one by one, as `tqdm` does. Raises ActionError for a clip that
    cannot be read, and one with fewer frames.
    """
    names = tuple(dict.fromkeys(clip.action for clip in clips))
    windows = [read_clip(clip.path, frames, size) for clip in progress(clips)]
    labels = torch.tensor([names.index(clip.action) for clip in clips])
    return Windows(torch.stack(windows), labels, names)


def read_clip(path: Path, frames: int, size: int) -> Tensor:
    """Return what `read_clips` does of one clip, (frames, 3, size, size) uint8."""
    try:
        pictures = (_of_folder(path, frames) if path.is_dir() else _of_video(path, frames))
        return torch.stack([fit(picture, size) for picture in pictures])
    except PictureError as error:
        raise ActionError(f'{error}: replace it, or remove the clip') from error


def _of_folder(path: Path, frames: int) -> Iterator[np.ndarray]:
    files = visible_files(path, SUFFIXES)
    for place in _places(path, len(files), frames):
        yield read_picture(files[place])


def _of_video(path: Path, frames: int) -> Iterator[np.ndarray]:
    # What a file claims of its length need not be so, and seeking is inexact: frames are counted.
    count = sum(1 for _ in _grabbed(path))
    if not count:
        raise ActionError(f'{path} cannot be read as a video, OpenCV finds no frame in it: '
                          'convert it to H.264 in .mp4, or replace it')
    wanted = _places(path, count, frames)
    for place, video in enumerate(_grabbed(path)):
        if place in wanted:
            yield cv2.cvtColor(video.retrieve()[1], cv2.COLOR_BGR2RGB)


def _grabbed(path: Path) -> Iterator[cv2.VideoCapture]:
    """Yield a video at each of its frames."""
    video = cv2.VideoCapture(str(path))
    try:
        while video.grab():
            yield video
    finally:
        video.release()


def _places(path: Path, count: int, frames: int) -> list[int]:
    if count < frames:
        raise ActionError(f'{path} has {count} frames: a clip needs {frames}; replace it by a '
                          'longer one, or remove it')
    return [int((part + 0.5) * count / frames) for part in range(frames)]
