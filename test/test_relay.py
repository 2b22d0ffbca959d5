"""The link of `test/stress/network.py`: what it does to packets, without any network."""

import socket

import machines
import pytest
from relay import Conditions
from relay import CUT
from relay import Direction
from relay import Relay

PACKET = b'x' * 1000


def arrivals(direction, until):
    """Return (time, packet) of what arrives until a time."""
    found = []
    while direction.due <= until:
        due = direction.due
        found += [(due, packet) for packet in direction.arrived(due)]
    return found


def test_packets_arrive_after_the_delay_and_not_before():
    direction = Direction(Conditions(delay=0.5))
    direction.send(b'first', 1.0)
    direction.send(b'second', 1.25)
    assert list(direction.arrived(1.4)) == []
    assert list(direction.arrived(1.5)) == [b'first']
    assert direction.due == 1.75
    assert list(direction.arrived(9.0)) == [b'second']
    assert direction.due == float('inf')
    assert (direction.counts.packets, direction.counts.size) == (2, 11)


def test_jitter_stays_in_its_bounds():
    direction = Direction(Conditions(delay=0.1, jitter=0.05))
    for number in range(500):
        direction.send(PACKET, number)
    delays = [time - number for number, (time, _) in enumerate(arrivals(direction, 1000.0))]
    assert 0.0499 < min(delays) < 0.06 and 0.14 < max(delays) < 0.1501


def test_jitter_keeps_the_order():
    direction = Direction(Conditions(delay=0.1, jitter=0.05))
    packets = [number.to_bytes(2, 'big') for number in range(500)]
    for number, packet in enumerate(packets):
        direction.send(packet, number / 100)
    assert [packet for _, packet in arrivals(direction, 100.0)] == packets


def test_jitter_beyond_the_delay_sends_nothing_into_the_past():
    direction = Direction(Conditions(delay=0.01, jitter=1.0))
    direction.send(PACKET, 5.0)
    assert direction.due >= 5.0


@pytest.mark.parametrize('loss', [0.0, 0.01, 0.3, 1.0])
def test_as_many_get_lost_as_are_to(loss):
    number = 20000
    direction = Direction(Conditions(loss=loss), seed=1)
    for _ in range(number):
        direction.send(PACKET, 0.0)
    came = len(list(direction.arrived(0.0)))
    assert came + direction.counts.lost == number == direction.counts.packets
    # Four standard deviations of the binomial distribution.
    assert abs(direction.counts.lost / number - loss) <= 4 * (loss * (1 - loss) / number) ** 0.5


def test_a_rate_lets_one_packet_through_after_the_other():
    # A packet takes 0.1 s, and then the delay.
    direction = Direction(Conditions(delay=1.0, rate=80e3, queue=10.0))
    for _ in range(4):
        direction.send(PACKET, 0.0)
    direction.send(PACKET, 3.0)
    assert [round(time, 6) for time, _ in arrivals(direction, 9.0)] == [1.1, 1.2, 1.3, 1.4, 4.1]


def test_what_would_wait_too_long_is_dropped():
    direction = Direction(Conditions(rate=80e3, queue=0.25))
    for _ in range(10):
        direction.send(PACKET, 0.0)
    # The fourth would have waited for 0.3 s.
    assert direction.counts.dropped == 7
    assert len(arrivals(direction, 9.0)) == 3
    direction.send(PACKET, 10.0)
    assert len(arrivals(direction, 11.0)) == 1


def test_lost_packets_take_their_time_at_a_rate():
    direction = Direction(Conditions(rate=80e3, queue=10.0, loss=1.0))
    direction.send(PACKET, 0.0)
    direction.conditions = Conditions(rate=80e3, queue=10.0)
    direction.send(PACKET, 0.0)
    assert direction.due == pytest.approx(0.2)


def test_other_conditions_hold_for_what_is_sent_from_then_on():
    direction = Direction(Conditions(delay=1.0))
    direction.send(b'before', 0.0)
    direction.conditions = CUT
    direction.send(b'meanwhile', 0.5)
    direction.conditions = Conditions()
    direction.send(b'after', 0.6)
    # No packet overtakes another.
    assert arrivals(direction, 9.0) == [(1.0, b'before'), (1.0, b'after')]


def test_the_relay_carries_packets_both_ways():
    ours, one = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    theirs, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    packets = [number.to_bytes(2, 'big') * 100 for number in range(100)]
    with ours, one, theirs, other, Relay(
            (one.fileno(), other.fileno()), Conditions(delay=0.002, jitter=0.001)) as relay:
        for end in ours, theirs:
            end.settimeout(20.0)
        for source, target in (ours, theirs), (theirs, ours):
            came = []
            for packet in packets:
                source.send(packet)
                came.append(target.recv(1000))
            assert came == packets
        relay.set_conditions(CUT)
        ours.send(b'lost')
        while not relay.directions[0].counts.lost:
            pass
        relay.set_conditions(Conditions())
        ours.send(b'kept')
        assert theirs.recv(1000) == b'kept'
    there, back = (direction.counts for direction in relay.directions)
    assert (there.packets, back.packets) == (102, 100)
    assert (there.size, back.size) == (20008, 20000)


def test_what_machines_need_is_named(monkeypatch):
    monkeypatch.setenv('PATH', '/nowhere')
    assert 'needs the commands ip, mount, nsenter, unshare' in machines.missing()
