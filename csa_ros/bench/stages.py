"""
What each stage of the work on a recording takes by itself, with one thread.

The stages are those of `csa_ros.bags`: messages out of an MCAP, pictures out of messages, masks of
pictures, and masks into files. The recording is of the demo's streets with a sensor's noise, as
pictures without any would be smaller files than those of a camera.
"""

from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import contextmanager
from functools import partial
import os
from pathlib import Path
import shutil
from typing import Any

from csa_ros.bags import jobs
from csa_ros.bags.jobs import Job
from csa_ros.bags.jobs import Request
from csa_ros.bags.labelling import Labeller
from csa_ros.bags.pictures import PicturePart
from csa_ros.bags.reading import COMPRESSED_IMAGE
from csa_ros.bags.reading import IMAGE
from csa_ros.bags.reading import picture_of
from csa_ros.bags.reading import Recording
from csa_ros.bags.reading import TYPES
from csa_ros.bags.writing import BagPart
from csa_ros.bench import inputs
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import Timing
from csa_ros.model.reuse import WindowMemory
from csa_ros.parameters.config import Config
from csa_ros.parameters.config import read_config_file
from csa_ros.segmenter import Result
import cv2
import numpy as np
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer
import torch
from tqdm import tqdm

KINDS = JPEG, RAW = 'jpeg', 'raw'
# OpenCV's default, too.
JPEG_QUALITY = 95
# Standard deviation in grey levels: a small camera in daylight.
NOISE = 1.5
RATE = 10
# Pictures that differ; a recording repeats them.
STREETS = 8
# The form of what is written, and the masks.
FORMS = (('bag', ('labels', 'overlay')), ('bag', ('labels',)), ('png', ('labels', 'overlay')),
         ('png', ('labels',)))
# The model whose masks are written: one of random weights sees the same everywhere, and files of
# that are small.
SEEN_BY = 'demo'
_SECOND = 10**9
_TOPIC = '/camera/image'


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch and OpenCV use one thread while the block runs."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def pictures(size: tuple[int, int]) -> list[np.ndarray]:
    """Return STREETS noisy pictures, (H, W, 3) uint8; `size` is (width, height)."""
    random = np.random.default_rng(0)
    streets = (inputs.street(seed, size).rgb for seed in range(STREETS))
    return [(rgb + random.normal(0, NOISE, rgb.shape)).round().clip(0, 255).astype(np.uint8)
            for rgb in streets]


def record(path: Path, kind: str, seen: Sequence[np.ndarray], count: int) -> Path:
    """Write a bag of one camera, JPEG or RAW, to `path` and return that; `count` images."""
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        msgtype = COMPRESSED_IMAGE if kind == JPEG else IMAGE
        connection = writer.add_connection(_TOPIC, msgtype, typestore=TYPES)
        fields = [_fields(kind, rgb) for rgb in seen]
        for number in range(count):
            time = number * _SECOND // RATE
            message = TYPES.types[msgtype](
                header=_header(time), **fields[number % len(fields)])
            writer.write(connection, time, TYPES.serialize_cdr(message, msgtype))
    return path


def measure_input(path: Path, rounds: int, progress: tqdm | None = None) -> dict:
    """
    Time the reading of a bag of one camera, and the decoding of its images.

    `warm` and `cold` are Timings of one image, read with the file in the memory of the kernel and
    without (what is below the kernel may hold it all the same), with the opening of the bag;
    `decode` is that of a picture out of its message. `bytes` are those of a message.
    """
    messages = _messages(path)
    count = len(messages)
    timings = alternate(
        {'warm': partial(_messages, path), 'forget': partial(_forget, path),
         'cold': partial(_messages, path),
         'decode': lambda: [picture_of(kind, data) for kind, _, data in messages]},
        rounds, progress)
    return {'bytes': sum(len(data) for _, _, data in messages) / count,
            **{name: _each(timings[name], count) for name in ('warm', 'cold', 'decode')}}


def measure_segmenting(model: str, device: str, rgb: np.ndarray, rounds: int,
                       progress: tqdm | None = None) -> dict:
    """Return the Timing of a picture, (H, W, 3) uint8, to labels and overlay as `frame`."""
    with inputs.loaded(model, device) as segmenter:
        config = _config()
        labeller = Labeller(segmenter, config, ('labels', 'overlay'))
        timing = alternate({model: lambda: labeller.submit(rgb, WindowMemory()).result()},
                           rounds, progress)[model]
        return {'model': model, 'device': segmenter.device.type,
                'precision': str(segmenter.backbone.dtype).removeprefix('torch.'),
                'classes': len(config.vocabulary.names), 'frame': timing.to_dict()}


def measure_outputs(path: Path, folder: Path, rounds: int, progress: tqdm | None = None
                    ) -> list[dict]:
    """
    Time what is written for the images of a bag, in each of FORMS; `folder` is one for them.

    `write` is the Timing of one image, into the memory of the kernel, and `bytes` what it takes
    there. Bags hold the messages of the recording as well.
    """
    calls = {}
    config = _config()
    with inputs.loaded(SEEN_BY, 'cpu') as segmenter, Recording(path) as recording:
        messages = list(recording.messages())
        sights = [picture_of(connection.msgtype, data)
                  for connection, _, data in messages[:STREETS]]
        seen = [Labeller(segmenter, config, ('labels', 'overlay')).submit(
            rgb, WindowMemory()).result()[0] for _, rgb in sights]
        for form, outputs in FORMS:
            (job,), _ = jobs.plan([path], folder, Request(
                config, (), outputs, form, 'mcap', 'segment', len(messages)))
            calls[form, outputs] = partial(
                _write, _place(folder, form, outputs), recording, job,
                Labeller(segmenter, config, outputs), messages,
                [(header, result) for (header, _), result in zip(sights, seen)])
        timings = alternate(calls, rounds, progress)
    return [{'form': form, 'outputs': list(outputs),
             'bytes': _size(_place(folder, form, outputs)) / len(messages),
             'write': _each(timing, len(messages))}
            for (form, outputs), timing in timings.items()]


def _write(folder: Path, recording: Recording, job: Job, labeller: Labeller,
           messages: Sequence[tuple[Connection, int, bytes]],
           seen: Sequence[tuple[Any, Result]]) -> None:
    """Write a part as `csa_ros.bags.run` does, of results that are there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    writer = (BagPart(folder, 0, recording, job, labeller) if job.request.form == 'bag'
              else PicturePart(folder, {}, job, labeller))
    with writer:
        for number, (connection, time, data) in enumerate(messages):
            writer.copy(connection, time, data)
            writer.add(connection.topic, time, *seen[number % len(seen)])


def _config() -> Config:
    # One template costs frames the same as eighty do.
    config, _ = read_config_file(None, 'segment', {'prompts': ['simple']})
    return config


def _messages(path: Path) -> list[tuple[str, int, bytes]]:
    with Recording(path) as recording:
        return [(connection.msgtype, time, data)
                for connection, time, data in recording.messages()]


def _forget(path: Path) -> None:
    """Let the kernel drop what it holds of a bag's files."""
    for file in path.iterdir():
        with open(file, 'rb') as opened:
            # What has not been written yet is kept.
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _place(folder: Path, form: str, outputs: Sequence[str]) -> Path:
    return folder / '_'.join((form, *outputs))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())


def _each(timing: Timing, count: int) -> dict[str, float]:
    """Return the Timing of one of `count` things that were done at once."""
    return Timing([seconds / count for seconds in timing.seconds]).to_dict()


def _fields(kind: str, rgb: np.ndarray) -> dict[str, Any]:
    """Return an image message of a picture, but for its header."""
    if kind == RAW:
        return {'height': rgb.shape[0], 'width': rgb.shape[1], 'encoding': 'rgb8',
                'is_bigendian': 0, 'step': rgb[0].nbytes, 'data': rgb.reshape(-1)}
    _, data = cv2.imencode('.jpg', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR),
                           [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return {'format': 'rgb8; jpeg compressed bgr8', 'data': data.reshape(-1)}


def _header(time: int) -> Any:
    sec, nanosec = divmod(time, _SECOND)
    return TYPES.types['std_msgs/msg/Header'](
        stamp=TYPES.types['builtin_interfaces/msg/Time'](sec=sec, nanosec=nanosec),
        frame_id='camera')
