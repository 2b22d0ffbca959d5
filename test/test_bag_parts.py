"""How recordings are cut and shared, and what their masks are called."""

from csa_ros.bags.errors import BagError
from csa_ros.bags.parts import cut
from csa_ros.bags.parts import period_of
from csa_ros.bags.parts import select
from csa_ros.bags.topics import cameras
from csa_ros.shards import Shard
from hypothesis import given
from hypothesis import strategies
import numpy as np
import pytest
from rosbags.interfaces import Connection


def connection(topic):
    return Connection(1, topic, '', None, '', 0, None, None)


# Seconds, so that a few are equal, and some far from all others.
TIMES = strategies.lists(strategies.integers(0, 20) | strategies.sampled_from([-500, 10**6]),
                         max_size=60)


@given(images=TIMES, others=TIMES, order=strategies.randoms(), period=strategies.sampled_from(
    [0, 1, 7, 10**9, 5 * 10**9]), per_part=strategies.integers(1, 12))
def test_parts_hold_every_message_once_and_equally_many_images(
        images, others, order, period, per_part):
    messages = [(connection(topic), time * 10**9, b'')
                for topic, times in (('/image', images), ('/imu', others)) for time in times]
    order.shuffle(messages)
    messages.sort(key=lambda message: message[1])
    times = np.array(sorted(images), np.int64) * 10**9
    start = messages[0][1] if messages else 0
    parts = cut(times, per_part, period, start)
    assert [part.index for part in parts] == [*range(len(parts))]
    held = []
    for part in parts:
        limits = [messages[0][1] if part.start is None else part.start.time,
                  messages[-1][1] if part.stop is None else part.stop.time] if messages else []
        window = [item for item in messages if limits[0] <= item[1] <= limits[1]]
        mine = [*select(window, part, ['/image'])]
        assert sum(item[0].topic == '/image' for item in mine) == part.images
        held.append(mine)
    assert [item for mine in held for item in mine] == messages
    counts = [part.images for part in parts]
    if not period:
        assert max(counts) <= per_part and max(counts) - min(counts) <= 1
    elif len(images):
        assert min(counts) > 0
        numbers = [{(time - start) // period for item, time, _ in mine if item.topic == '/image'}
                   for mine in held]
        assert sum(map(len, numbers)) == len(set.union(*numbers))


@pytest.mark.parametrize('times, per_part, counts', [
    ([], 10, [0]),
    ([0, *range(10**18, 10**18 + 60)], 10, [8, 9, 9, 8, 9, 9, 9]),
    ([7] * 60, 10, [10] * 6),
    ([0] * 30 + [1, 10**18], 10, [8] * 4),
    ([*range(60), 10**18], 61, [61]),
], ids=['none', 'one long before', 'a clock that stands', 'a clock that starts late', 'few'])
def test_parts_go_by_images_and_not_by_time(times, per_part, counts):
    parts = cut(np.array(times, np.int64), per_part, 0, 0)
    assert [part.images for part in parts] == counts


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
