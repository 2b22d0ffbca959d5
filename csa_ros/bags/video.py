"""Pictures as a video: H.264, which everything plays, or MPEG-4 Part 2 where PyAV is missing."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
try:
    import av
    HAS_H264 = 'libx264' in av.codecs_available
except ModuleNotFoundError as error:
    if (error.name or '').partition('.')[0] != 'av':
        raise
    HAS_H264 = False

# One thread, or the bytes would go by the number of processors. Quality 20 of x264 hides what it
# leaves out.
_OPTIONS = {'preset': 'veryfast', 'crf': '20', 'threads': '1'}
# What is played over a network begins with what is needed to play it.
_CONTAINER = {'movflags': 'faststart'}


def encode(path: Path, pictures: Iterator[np.ndarray], rate: float) -> None:
    """
    Write pictures to an MP4 of `rate` pictures a second.

    They are (H, W, 3) uint8 BGR. Those of another size than the first are scaled to it; its last
    row and column are repeated where sides are odd, which the codecs do not take. Raises OSError
    if the video cannot be written.
    """
    first = next(pictures)
    height, width = first.shape[:2]

    def fitted() -> Iterator[np.ndarray]:
        yield _even(first)
        for picture in pictures:
            # Of another size it would be left out without a word.
            yield _even(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))

    write = _write_h264 if HAS_H264 else _write_mpeg4
    write(path, fitted(), rate, (width + width % 2, height + height % 2))


def _even(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    return cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def _write_h264(path: Path, pictures: Iterator[np.ndarray], rate: float, size: tuple[int, int]
                ) -> None:
    try:
        with av.open(str(path), 'w', format='mp4', options=_CONTAINER) as container:
            stream = container.add_stream(
                'libx264', rate=Fraction(rate).limit_denominator(100), options=_OPTIONS)
            stream.width, stream.height = size
            # The subsampling that all players take.
            stream.pix_fmt = 'yuv420p'
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format='bgr24')))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        raise OSError(f'{path.name} of {size[0]} x {size[1]} pixels cannot be written: {error}; '
                      'is the disk full? Or ask for --format png') from error


def _write_mpeg4(path: Path, pictures: Iterator[np.ndarray], rate: float, size: tuple[int, int]
                 ) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), rate, size)
    if not writer.isOpened():
        raise OSError(f'OpenCV cannot write {path.name} of {size[0]} x {size[1]} pixels: install '
                      'PyAV, which can (`pip install av`), or ask for --format png')
    for picture in pictures:
        writer.write(picture)
    writer.release()
