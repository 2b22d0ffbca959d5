"""How the bench compares ways to share the work on a whole recording."""

import sys

from csa_ros.bench import sharing
from csa_ros.bench import stages
from csa_ros.bench.sharing import Case
from csa_ros.bench.sharing import rate_and_start
from csa_ros.tools.arguments.cluster import check_cluster
from csa_ros.tools.arguments.segment_bag import make_parser
import pytest

# Makes a file for each part of a recording, as if every worker took half a second for each.
TOOL = """
import os, sys
from pathlib import Path
bag, out = map(Path, sys.argv[1:3])
after = dict(zip(sys.argv, sys.argv[1:]))
if not bag.exists():
    sys.exit(f'there is no bag {bag}')
shard, shards = map(int, after.get('--shard', '0/1').split('/'))
workers = int(after.get('--ray-workers', shards))
out.mkdir(exist_ok=True)
for part in range(shard, 16, shards):
    path = out / f'out_{part}.mcap'
    path.write_bytes(b'')
    os.utime(path, 2 * (4e9 + (part // workers + 1) / 2,))
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Replace segment_bag by what makes no pictures."""
    path = tmp_path / 'tool.py'
    path.write_text(TOOL)
    monkeypatch.setattr(sharing, '_TOOL', (sys.executable, str(path)))
    monkeypatch.setattr(sharing, 'SIZE', (32, 24))
    monkeypatch.setattr(stages, 'STREETS', 1)
    monkeypatch.setattr(sharing, 'usable_threads', lambda: 2)


def test_the_first_part_of_each_worker_is_not_counted():
    # Two workers that begin after 10 seconds, and do a part of 5 images in 4.
    ended = [114.0, 114.0, 118.0, 118.0, 122.0, 122.0]
    # By when both have done one, 4 parts more take 8 seconds.
    assert rate_and_start(100.0, ended, workers=2, images=5) == pytest.approx((2.5, 10.0))
    assert rate_and_start(100.0, [104.0, 106.0, 108.0], 1, 5) == pytest.approx((2.5, 2.0))


@pytest.mark.parametrize('case, shares', [
    (Case('one process', 1, 2), ['0/1']), (Case('shards', 2, 2), ['0/2', '1/2']),
    (Case('Ray', 4, 2), ['0/1'])])
def test_commands_are_those_of_segment_bag(tmp_path, case, shares):
    commands = [make_parser().parse_args(command[3:])
                for command in case.commands(tmp_path / 'in', tmp_path / 'out', 8)]
    assert [command.shard for command in commands] == shares
    assert all(command.part_images == 8 for command in commands)
    for command in commands:
        check_cluster(command)
    if case.way == sharing.RAY:
        found = commands[0]
        assert (found.ray, found.ray_workers, found.ray_cpus) == ('local', 4, 0.5)


def test_all_have_as_many_cores():
    assert [Case(way, workers, 4).threads for way, workers in (
        ('one process', 1), ('shards', 2), ('shards', 8), ('Ray', 2))] == [4, 2, 1, 4]


def test_every_way_is_measured_in_turn(tmp_path, tool):
    result = sharing.measure(tmp_path, [2, 4], images=3, rounds=2)
    assert [(case['way'], case['workers']) for case in result['cases']] == [
        ('one process', 1), ('shards', 2), ('Ray', 2), ('Ray', 4)]
    assert (result['parts'], result['images'], result['cores']) == (16, 48, 2)
    # Parts of 3 images, two a second of each worker.
    assert [case['rate'] for case in result['cases']] == pytest.approx([6, 12, 12, 24])
    assert [case['ratio'] for case in result['cases']] == pytest.approx([1, 2, 2, 4])


def test_a_command_that_fails_is_named(tmp_path, tool):
    case = Case('Ray', 2, 2)
    with pytest.raises(RuntimeError, match='--ray local .* has failed: there is no bag'):
        sharing._run(case, tmp_path / 'nowhere', tmp_path / 'out', 8)
