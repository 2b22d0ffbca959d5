"""How long recordings keep a cluster busy, against sums by hand."""

import argparse

from csa_ros.bench.capacity import CORES
from csa_ros.bench.capacity import DECODE
from csa_ros.bench.capacity import estimate
from csa_ros.bench.capacity import Footage
from csa_ros.bench.capacity import GPUS
from csa_ros.bench.capacity import Image
from csa_ros.bench.capacity import Machines
from csa_ros.bench.capacity import READ
from csa_ros.bench.capacity import SEGMENT
from csa_ros.bench.capacity import WRITE
from csa_ros.bench.options import parse_footage
from csa_ros.bench.options import parse_machines
import pytest

# 1,000 hours at 10 Hz are 36 million images.
FOOTAGE = Footage(1000, 10)
# 10 ms of a core, and 2.5 ms of a GPU.
IMAGE = Image({READ: 0.001, DECODE: 0.005, WRITE: 0.004}, 0.0025, 0.25e6, 4e6)


def test_footage_is_counted_in_images():
    assert FOOTAGE.images == 36_000_000
    assert Footage(0.5, 30, cameras=4).images == 216_000


def test_gpus_are_the_limit_where_cores_can_feed_them():
    found = estimate(FOOTAGE, IMAGE, Machines(1, 112, 8))
    # 112 / 10 ms, and 8 / 2.5 ms.
    assert found.rates == pytest.approx({CORES: 11_200, GPUS: 3_200})
    assert (found.limit, found.stage) == (GPUS, DECODE)
    # 36,000,000 / 3,200 are 11,250 seconds.
    assert found.hours == pytest.approx(3.125)
    assert found.gpu_hours == pytest.approx(25)
    assert found.core_hours == pytest.approx(350)
    # While a GPU does one frame, a worker does a quarter of what the core has to do for one.
    assert found.workers == 4
    assert (found.read, found.written) == pytest.approx((9e12, 144e12))
    # 3,200 times 4.25 MB.
    assert found.throughput == pytest.approx(13.6e9)


def test_cores_are_the_limit_where_they_cannot():
    found = estimate(FOOTAGE, IMAGE, Machines(8, 2, 1))
    assert found.rates == pytest.approx({CORES: 1_600, GPUS: 3_200})
    assert (found.limit, found.stage) == (CORES, DECODE)
    assert found.hours == pytest.approx(6.25)
    assert found.gpu_hours == pytest.approx(50)
    assert found.core_hours == pytest.approx(100)
    assert found.throughput == pytest.approx(6.8e9)


def test_cores_segment_where_no_gpu_does():
    image = Image({**IMAGE.seconds, SEGMENT: 3.99}, 0, IMAGE.read, IMAGE.written)
    found = estimate(FOOTAGE, image, Machines(100, 2))
    # 200 cores, and 4 seconds an image: 720,000 seconds.
    assert found.rates == pytest.approx({CORES: 50})
    assert (found.limit, found.stage, found.workers) == (CORES, SEGMENT, 0)
    assert found.hours == pytest.approx(200)
    assert (found.core_hours, found.gpu_hours) == pytest.approx((40_000, 0))
    assert found.throughput == pytest.approx(212.5e6)


@pytest.mark.parametrize('machines', [Machines(0, 2), Machines(1, 0, 8)])
def test_work_is_done_by_cores(machines):
    with pytest.raises(ValueError, match='give at least one of each'):
        estimate(FOOTAGE, IMAGE, machines)


def test_footage_and_machines_can_be_typed():
    assert parse_footage('1000x10') == FOOTAGE
    assert parse_footage(' 2.5x30x6 ') == Footage(2.5, 30, 6)
    assert parse_machines('1x112+8, 100x2') == [Machines(1, 112, 8), Machines(100, 2)]


@pytest.mark.parametrize('text', ['1000', '0x10', '10x0', '10x10x0', '1e3x10', '1000x10x4x2'])
def test_footage_that_is_none_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match='such as 1000x10'):
        parse_footage(text)


@pytest.mark.parametrize('text', ['8', '0x2', '2x0', '1x8+', '', '1x8,'])
def test_machines_that_are_none_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match='such as 1x112'):
        parse_machines(text)
