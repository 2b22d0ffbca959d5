"""How recordings are cut and shared, and what their masks are called."""

from csa_ros.bags.parts import cut
from csa_ros.bags.parts import period_of
from csa_ros.bags.reading import BagError
from csa_ros.bags.topics import cameras
from csa_ros.shards import Shard
from hypothesis import given
from hypothesis import strategies
import pytest


@given(start=strategies.integers(-10**18, 10**18), length=strategies.integers(1, 10**15),
       images=strategies.integers(0, 500), per_part=strategies.integers(1, 100),
       period=strategies.sampled_from([0, 1, 7, 10**9, 10**12]))
def test_parts_cover_the_recording_once_and_split_no_period(
        start, length, images, per_part, period):
    parts = cut(start, start + length, images, per_part, period)
    assert [part.index for part in parts] == list(range(len(parts)))
    assert len(parts) <= max(images, 1)
    assert parts[0].start is None and parts[-1].stop is None
    for before, after in zip(parts, parts[1:]):
        assert before.stop == after.start
        assert start <= after.start < start + length
        assert not period or (after.start - start) % period == 0
    edges = [part.start for part in parts[1:]]
    assert edges == sorted(edges)


def test_rates():
    assert [period_of(rate) for rate in (0.0, 0.5, 30.0)] == [0, 2 * 10**9, 33333333]


@pytest.mark.parametrize('count', [1, 2, 5])
def test_every_part_has_one_shard(count):
    shards = [Shard.parse(f'{index}/{count}') for index in range(count)]
    for number in range(12):
        assert sum(shard.has(number) for shard in shards) == 1


@pytest.mark.parametrize('text', ['', '1', '-1/2', '1/2/3', 'a/b', '2/2', '0/0', '١/٢'])
def test_bad_shards(text):
    with pytest.raises(ValueError, match='shard is'):
        Shard.parse(text)


@pytest.mark.parametrize('topics, names', [
    (['/camera/image_raw'], ['']),
    (['/front/image', '/left/image_raw/compressed'], ['front/', 'left/']),
    (['/robot/cam/front/image', '/robot/cam/left/image'],
     ['robot/cam/front/', 'robot/cam/left/']),
    (['/cam/image_raw', '/cam/image_rect'], ['cam/image_raw/', 'cam/image_rect/']),
    (['/image', '/left/image'], ['image/', 'left/image/']),
    (['/../../etc/image', '//image', '/'], ['__/__/etc/image/', 'image/', '_/']),
])
def test_names_of_cameras(topics, names):
    found = list(cameras(topics).values())
    assert found == names
    assert not any(name.startswith('/') or '..' in name for name in found)


def test_names_that_cannot_be_told_apart():
    with pytest.raises(BagError, match='one by one'):
        cameras(['/a-b', '/a.b'])
