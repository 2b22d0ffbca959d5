"""The work on planned jobs: parts that are missing are made, and complete results put together."""

from collections import deque
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any
from typing import Protocol

from csa_ros.bags import finds
from csa_ros.bags import pictures
from csa_ros.bags import writing
from csa_ros.bags.errors import BagError
from csa_ros.bags.finds import FindsPart
from csa_ros.bags.jobs import Job
from csa_ros.bags.labelling import Labeller
from csa_ros.bags.object_store import ObjectStore
from csa_ros.bags.parts import Part
from csa_ros.bags.parts import select
from csa_ros.bags.pictures import PicturePart
from csa_ros.bags.reading import IMAGES
from csa_ros.bags.reading import picture_of
from csa_ros.bags.reading import Recording
from csa_ros.bags.shared_folder import SharedFolder
from csa_ros.bags.workspace import Workspace
from csa_ros.bags.writing import BagPart
from csa_ros.model.reuse import WindowMemory
from csa_ros.ros.images import ImageError
from csa_ros.sample_range import SampleRange
from csa_ros.segmenter import Pending
from csa_ros.shards import Shard
from csa_ros.urls import is_remote
import numpy as np
from rosbags.interfaces import Connection

# Messages that wait for a frame on the GPU; more would only take memory.
_MOST_WAITING = 64
# Of the reasons for which images are left out, those kept of a part.
_MOST_REASONS = 5
# Images of a topic from which the range of 16-bit samples is learned.
_LEARNED_FROM = 10


@dataclass(frozen=True)
class Task:
    """A job with the folder of its result, and the numbers of those of its parts to make here."""

    job: Job
    workspace: Workspace
    parts: list[int]


class Progress(Protocol):
    """What is told how far the work is, as `csa_ros.bags.progress.Progress`."""

    def image(self) -> None:
        """Count an image that has been labelled."""

    def advance(self, seconds: float) -> None:
        """Go on by seconds of recording time."""


@dataclass(frozen=True)
class _Message:
    connection: Connection
    time: int
    data: bytes
    header: Any = None
    pending: Pending | None = None
    rgb: np.ndarray | None = None


def tasks(jobs: Sequence[Job], shard: Shard) -> list[Task]:
    """
    Deal the parts of all jobs to shards, in turn, and return what is this one's.

    Raises OutputError if the place of any result is taken; nothing is written yet.
    """
    spaces = [_workspace(job) for job in jobs]
    for space in spaces:
        space.check()
    dealt, number = [], 0
    for job, space in zip(jobs, spaces):
        missing = set(space.missing)
        dealt.append(Task(job, space, [
            part.index for part in job.parts
            if shard.has(number + part.index) and part.index in missing]))
        number += len(job.parts)
    return dealt


def make(task: Task, labeller: Labeller, progress: Progress) -> None:
    """
    Make the parts of a task, telling `progress` how far it is.

    BagError and errors of the segmenter pass through; the parts made until then stay.
    """
    if not task.parts:
        return
    task.workspace.begin()
    with Recording(task.job.bag, task.job.survey) as recording:
        make_parts(task, recording, labeller, progress)


def make_parts(task: Task, recording: Recording, labeller: Labeller, progress: Progress) -> None:
    """Make the parts of a task, as `make`, of its recording, which is open already."""
    for index in task.parts:
        if task.workspace.has(index):
            continue
        try:
            with task.workspace.part(index) as (folder, record):
                _make_part(recording, task.job, task.job.parts[index], labeller, folder, record,
                           progress)
        except Exception:
            # Unless another process, at work on the same, has put the result together and with
            # that taken the folder away.
            if not task.workspace.complete:
                raise


def finish(task: Task) -> bool:
    """
    Put the result together if all parts are there; return whether it is complete.

    Raises BagError if they hold less than the recording.
    """
    if task.workspace.missing:
        return False
    if not task.workspace.complete:
        _check_count(task)
        with task.workspace.finishing() as made:
            if made is not None:
                _assemble(made, task.job, task.workspace)
    task.workspace.tidy()
    return True


def span(job: Job, index: int) -> tuple[int, int]:
    """Return the start and end of a part in nanoseconds of recording time."""
    part = job.parts[index]
    return (job.start if part.start is None else part.start.time,
            job.end if part.stop is None else part.stop.time)


def _workspace(job: Job) -> Workspace:
    kind = ObjectStore if is_remote(job.out) else SharedFolder
    return kind(job.out, job.identity, len(job.parts))


def _check_count(task: Task) -> None:
    read = sum(record['messages'] for record in task.workspace.records())
    # None is missing of a result that another process has finished in the meantime.
    if read < task.job.messages and not task.workspace.complete:
        raise BagError(
            f'{task.job.bag} holds {task.job.messages} messages by its indexes, of which {read} '
            f'could be read: write it anew (`mcap recover`, `ros2 bag convert`), remove '
            f'{task.job.out}, and run the same command again')


def _assemble(made: list[tuple[Path, dict[str, Any]]], job: Job, space: Workspace) -> None:
    if job.request.config.find:
        finds.assemble(made, job, space)
    if job.request.form == 'bag':
        writing.assemble([folder for folder, _ in made], job, space)
    elif job.request.form == 'png':
        pictures.assemble_png(made, job, space)
    else:
        pictures.assemble_mp4(made, job, space)


def _make_part(recording: Recording, job: Job, part: Part, labeller: Labeller, folder: Path,
               record: dict[str, Any], progress: Progress) -> None:
    record.update(messages=0, labelled=dict.fromkeys(job.cameras, 0),
                  bad=dict.fromkeys(job.cameras, 0), reasons=[])
    images = 0
    writer: BagPart | PicturePart
    if job.request.form == 'bag':
        writer = BagPart(folder, part.index, recording, job, labeller)
    else:
        writer = PicturePart(folder, record, job, labeller)
    last, end = span(job, part.index)
    with ExitStack() as stack:
        stack.enter_context(writer)
        found = (stack.enter_context(FindsPart(folder, record, job))
                 if job.request.config.find else None)
        for message in _overlapping(_submitted(recording, job, part, labeller, record)):
            topic = message.connection.topic
            writer.copy(message.connection, message.time, message.data)
            record['messages'] += 1
            images += topic in job.cameras
            if message.pending:
                result, = message.pending.result()
                writer.add(topic, message.time, message.header, result)
                if found and message.rgb is not None:
                    found.add(topic, message.time, message.header, message.rgb,
                              labeller.found(result))
                record['labelled'][topic] += 1
                progress.image()
            if message.time > last:
                progress.advance((message.time - last) * 1e-9)
                last = message.time
        if images != part.images:
            raise BagError(
                f'{job.bag} lists {part.images} images from {span(job, part.index)[0]} ns on, of '
                f'which {images} could be read: write it anew (`mcap recover`, `ros2 bag '
                'convert`)')
    progress.advance((end - last) * 1e-9)


def _submitted(recording: Recording, job: Job, part: Part, labeller: Labeller,
               record: dict[str, Any]) -> Iterator[_Message]:
    """Yield the messages of a part, those to be labelled as soon as the work on them has begun."""
    # A part does not depend on those before it, which other processes may make.
    memories = {topic: WindowMemory() for topic in job.cameras}
    ranges = {topic: _sample_range(recording, job, topic) for topic in job.cameras}
    last_period: dict[str, int | None] = {}
    start, end = span(job, part.index)
    messages = recording.messages(start, end + 1)
    for connection, time, data in select(messages, part, job.cameras):
        message = _Message(connection, time, data)
        topic = connection.topic
        period = (time - job.start) // job.period if job.period else None
        if topic in job.cameras and connection.msgtype in IMAGES and (
                period is None or period != last_period.get(topic)):
            try:
                header, rgb = picture_of(connection.msgtype, data, ranges[topic])
                message = replace(
                    message, header=header, pending=labeller.submit(rgb, memories[topic]),
                    rgb=rgb if job.request.config.find else None)
                # Not that of an image that cannot be read: the next one takes its place.
                last_period[topic] = period
            except ImageError as error:
                record['bad'][topic] += 1
                if len(record['reasons']) < _MOST_REASONS:
                    record['reasons'].append(f'{topic} at {time}: {error}')
        yield message
    record['doubts'] = {topic: samples.complaint for topic, samples in ranges.items()
                        if samples.complaint}


def _sample_range(recording: Recording, job: Job, topic: str) -> SampleRange:
    """Return what the first images of a topic show of its samples, the same for all parts."""
    samples = SampleRange(job.request.config.sensor_bits)
    connections = tuple(item for item in recording.connections if item.topic == topic)
    for connection, _, data in islice(recording.messages(connections=connections), _LEARNED_FROM):
        try:
            picture_of(connection.msgtype, data, samples)
        except ImageError:
            continue
        if not samples.summary:
            break  # they are of 8 bits
    return samples


def _overlapping(messages: Iterable[_Message]) -> Iterator[_Message]:
    """
    Yield messages as they come, but a frame only when work on the next has begun.

    A GPU is then busy with that one while this one is written.
    """
    waiting: deque[_Message] = deque()
    for message in messages:
        if message.pending or len(waiting) == _MOST_WAITING:
            yield from waiting
            waiting.clear()
        if message.pending or waiting:
            waiting.append(message)
        else:
            yield message
    yield from waiting
