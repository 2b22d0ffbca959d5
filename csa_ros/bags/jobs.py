"""What is to be made of each bag: planned before any work, the same in every process."""

from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from csa_ros.bags import parts
from csa_ros.bags.errors import BagError
from csa_ros.bags.parts import Part
from csa_ros.bags.reading import Recording
from csa_ros.bags.reading import Survey
from csa_ros.bags.topics import cameras
from csa_ros.bags.topics import choose
from csa_ros.parameters.config import Config
from csa_ros.teaching.file import Kept
from csa_ros.urls import is_remote


@dataclass(frozen=True)
class Request:
    """
    What is asked for, whatever the bag.

    `topics` are all image topics if empty; `outputs` keys of `csa_ros.bags.labelling.OUTPUTS`;
    `form` is `bag`, `png` or `mp4`; `storage` is `mcap` or `sqlite3`, or empty for that of the
    bag; `name` that of the node, which the topics of the masks begin with; `part_images` the
    number of images in a part. `kept` is the file of examples of classes that were taught.
    """

    config: Config
    topics: tuple[str, ...]
    outputs: tuple[str, ...]
    form: str
    storage: str
    name: str
    part_images: int
    kept: Kept | None = None


@dataclass(frozen=True)
class Job:
    """
    What becomes of one bag.

    `cameras` gives, for each image topic, what stands before `labels` in the topics of its masks.
    `start` and `end` are the recording's, in nanoseconds, and `messages` all that it holds. At
    most one image is labelled of each `period`, which are counted from `start`; 0: all.
    `left_out` says why image topics are none of the cameras, and `remarks` what is wrong with the
    recording, which is opened by its `survey`. `identity`, of what JSON can hold, is all that the
    result depends on.
    """

    bag: Path
    out: Path
    request: Request
    storage: str
    cameras: dict[str, str]
    start: int
    end: int
    period: int
    parts: list[Part]
    messages: int
    left_out: dict[str, str]
    remarks: list[str]
    survey: Survey
    identity: dict[str, Any]


def plan(bags: Sequence[Path], out: Path, request: Request) -> tuple[list[Job], list[BagError]]:
    """
    Return a job for each bag: one is written to `out`, several to folders in it with their names.

    What is wrong with bags that cannot be segmented as asked is returned beside the jobs of the
    others. Raises BagError if two would be written to the same folder, or one into its bag.
    """
    jobs, errors = [], []
    for bag in bags:
        try:
            with Recording(bag) as recording:
                jobs.append(_job(
                    recording, out / recording.name if len(bags) > 1 else out, request))
        except BagError as error:
            errors.append(error)
    owners: dict[Path, Path] = {}
    for job in jobs:
        if is_remote(job.out) and job.out.is_relative_to(job.bag):
            raise BagError(f'{job.out} would be in the bag {job.bag}: name a place beside it')
        if job.out in owners:
            raise BagError(f'{owners[job.out]} and {job.bag} would both be written to {job.out}; '
                           'rename one, or segment them one by one')
        owners[job.out] = job.bag
    return jobs, errors


def _job(recording: Recording, out: Path, request: Request) -> Job:
    chosen, left_out = choose(recording, request.topics)
    names = cameras(chosen)
    if request.form == 'bag':
        _check_names(recording, [f'/{request.name}/{topic}' for topic in (
            'legend', 'label_info', *(f'{camera}{output}' for camera in names.values()
                                      for output in request.outputs))])
    period = parts.period_of(request.config.max_rate)
    return Job(
        bag=recording.path,
        out=out,
        request=request,
        storage=request.storage or recording.storage,
        cameras=names,
        start=recording.start,
        end=recording.end,
        period=period,
        parts=parts.cut(
            recording.times(names), request.part_images, period, recording.start),
        messages=recording.count,
        left_out=left_out,
        remarks=recording.remarks,
        survey=recording.survey,
        identity=_identity(recording, chosen, request))


def _check_names(recording: Recording, names: Sequence[str]) -> None:
    taken = {connection.topic for connection in recording.connections}
    for name in names:
        if name in taken:
            raise BagError(f'{recording.path} has a topic {name} already, of a node that ran '
                           'while it was recorded; choose another name with --name')


def _identity(recording: Recording, chosen: Sequence[str], request: Request) -> dict[str, Any]:
    """
    Return what may not change between a start and its continuation.

    Where the model runs may: several processes use several GPUs.
    """
    config = request.config
    return {
        'bag': recording.name,
        'start': recording.start,
        'end': recording.end,
        'messages': recording.count,
        'topics': list(chosen),
        'outputs': list(request.outputs),
        'format': request.form,
        'storage': request.storage,
        'name': request.name,
        'part_images': request.part_images,
        # By images; there were parts of equal time before, which do not go with these.
        'cut': 'images',
        'vocabulary': config.vocabulary.spec,
        'model': config.model.model,
        'precision': config.model.precision,
        'attention': config.model.attention,
        'residual': config.model.residual,
        'prompts': list(config.prompts),
        **asdict(config.settings),
        'overlay_alpha': config.overlay_alpha,
        'overlay_legend': config.overlay_legend,
        'max_rate': config.max_rate,
        'sensor_bits': config.sensor_bits,
        # What was begun before there were examples and phrases can be gone on with.
        **({'examples': request.kept.digest} if request.kept else {}),
        **({'find': list(config.find), 'find_threshold': config.find_threshold}
           if config.find else {}),
    }
