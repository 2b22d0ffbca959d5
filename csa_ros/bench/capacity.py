"""How long recordings keep a cluster busy: a sum of what was measured of one core and one GPU."""

from dataclasses import dataclass
import math

# What an image passes through on the core that it is worked on, beside the segmenting.
READ, DECODE, SEGMENT, WRITE = 'read', 'decode', 'segment', 'write'
CORES, GPUS = 'cores', 'GPUs'


@dataclass(frozen=True)
class Footage:
    """What was recorded: `hours` of `cameras`, each with `rate` images a second."""

    hours: float
    rate: float
    cameras: int = 1

    @property
    def images(self) -> float:
        """Return how many images that is."""
        return 3600 * self.hours * self.rate * self.cameras


@dataclass(frozen=True)
class Machines:
    """What works on it: `count` machines, each with as many `cores` and `gpus`."""

    count: int
    cores: int
    gpus: int = 0


@dataclass(frozen=True)
class Image:
    """
    What an image costs.

    `seconds` are those of one core by stage (READ, DECODE and WRITE; SEGMENT where no GPU does
    it), `gpu` those of a GPU, and the bytes what is read from the store and written to it.
    """

    seconds: dict[str, float]
    gpu: float
    read: float
    written: float


@dataclass(frozen=True)
class Estimate:
    """
    What footage takes on machines.

    `hours` by the clock; `limit` what is busy all the time, CORES or GPUS, with `stage`, the stage
    on which cores spend most; `rates` images a second that all cores, and all GPUs, could do;
    `core_hours` and `gpu_hours` as they are paid for, busy or not; bytes from and to the store,
    and those of both in a second; `workers` that a GPU is kept busy by, 0 where there is none.
    """

    hours: float
    limit: str
    stage: str
    rates: dict[str, float]
    core_hours: float
    gpu_hours: float
    read: float
    written: float
    throughput: float
    workers: int


def estimate(footage: Footage, image: Image, machines: Machines) -> Estimate:
    """
    Return what footage takes on machines that share the work evenly.

    A core does one stage of an image after the other, while a GPU works on another image. What is
    left out are the start of workers, and whatever cores or GPUs of a machine wait for together:
    memory, buses and the network. Raises ValueError for machines without cores.
    """
    if machines.count < 1 or machines.cores < 1:
        raise ValueError(f'{machines.count} machines with {machines.cores} cores are none: give '
                         'at least one of each')
    of_core = sum(image.seconds.values())
    rates = {CORES: machines.count * machines.cores / of_core}
    workers = 0
    if machines.gpus:
        rates[GPUS] = machines.count * machines.gpus / image.gpu
        workers = math.ceil(of_core / image.gpu)
    limit = min(rates, key=rates.__getitem__)
    hours = footage.images / rates[limit] / 3600
    return Estimate(
        hours=hours, limit=limit, stage=max(image.seconds, key=image.seconds.__getitem__),
        rates=rates, core_hours=hours * machines.count * machines.cores,
        gpu_hours=hours * machines.count * machines.gpus,
        read=footage.images * image.read, written=footage.images * image.written,
        throughput=rates[limit] * (image.read + image.written), workers=workers)
