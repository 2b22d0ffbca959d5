"""Work on a cluster of Ray: who does it, what becomes of it, and what is said of it."""

import argparse
import subprocess
import sys

from csa_ros.cluster import rates
from csa_ros.cluster.board import Board
from csa_ros.cluster.board import NodeWork
from csa_ros.cluster.board import Reporter
from csa_ros.cluster.errors import ClusterError
from csa_ros.cluster.resources import Share
from csa_ros.cluster.resources import share
from csa_ros.tools import evaluate
from csa_ros.tools import segment_bag
from csa_ros.tools.arguments import cluster as arguments
from csa_ros.tools.arguments.cluster import add_cluster
from csa_ros.tools.arguments.cluster import check_cluster
import pytest


def options(*args):
    parser = argparse.ArgumentParser()
    add_cluster(parser, 'the parts')
    parser.add_argument('--shard', default='0/1')
    parser.add_argument('--device')
    return parser.parse_args(args)


def nodes(*held):
    return [{'Resources': {'CPU': float(cpus), 'GPU': float(gpus)} if gpus else {
        'CPU': float(cpus)}} for cpus, gpus in held]


def test_a_piece_that_is_done_again_counts_once():
    board = Board()
    board.tell(0, 'front', 3, 30.0)
    board.tell(1, 'rear', 4, 40.0)
    board.tell(0, 'rear', 1, 10.0)
    board.tell(0, 'rear', 2, 20.0)
    told = {each.node: (each.images, each.amount) for each in board.nodes()}
    assert told == {'front': (0, 0.0), 'rear': (6, 60.0)}


def test_rates_are_of_the_time_that_a_node_works(monkeypatch):
    now = 100.0
    monkeypatch.setattr('csa_ros.cluster.board.time.monotonic', lambda: now)
    board = Board()
    board.tell(0, 'early', 0, 0.0)
    now = 108.0
    board.tell(1, 'late', 0, 0.0)
    board.tell(0, 'early', 30, 1.0)
    now = 110.0
    board.tell(1, 'late', 8, 1.0)
    assert {each.node: each.rate for each in board.nodes()} == {'early': 3.0, 'late': 4.0}


def test_a_reporter_tells_at_once_then_now_and_then_and_last(monkeypatch):
    now, told = 0.0, []
    monkeypatch.setattr('csa_ros.cluster.board.time.monotonic', lambda: now)
    reporter = Reporter(lambda images, amount: told.append((images, amount)))
    for now in (0.1, 0.2, 2.0, 2.1):
        reporter.image()
        reporter.advance(0.5)
    reporter.now()
    assert told == [(0, 0.0), (3, 1.0), (4, 2.0)]


@pytest.mark.parametrize('number, text', [
    (1, ''),
    (2, ' (a 1.0, b 2.0)'),
    (9, ' (9 nodes: a 1.0 to i 9.0)'),
])
def test_rates_by_node_fit_on_a_line(number, text):
    work = [NodeWork('abcdefghi'[index], 10, 1.0, index + 1.0) for index in range(number)]
    assert rates.by_node(work) == text
    assert rates.lines(work)[0] == 'a: 10 images, 1.0 a second'


@pytest.mark.parametrize('held, asked, expected', [
    ([(2, 0), (5, 0)], {}, Share(7, 1.0, 0.0)),
    ([(2, 0), (5, 0)], {'cpus': 2.0}, Share(3, 2.0, 0.0)),
    ([(2, 0)], {'cpus': 0.5}, Share(4, 0.5, 0.0)),
    ([(2, 0)], {'cpus': 0.1}, Share(20, 0.1, 0.0)),
    ([(64, 8), (2, 0)], {}, Share(8, 1.0, 1.0)),
    ([(64, 8)], {'gpus': 0.5}, Share(16, 1.0, 0.5)),
    ([(64, 8)], {'gpus': 0.0}, Share(64, 1.0, 0.0)),
    ([(3, 8)], {'gpus': 1.0}, Share(3, 1.0, 1.0)),
    ([(2, 0)], {'workers': 1}, Share(1, 1.0, 0.0)),
    ([], {'workers': 5, 'gpus': 1.0}, Share(5, 1.0, 1.0)),
])
def test_workers_are_as_many_as_fit_or_are_asked_for(held, asked, expected):
    assert share(nodes(*held), 1000, **asked) == expected


def test_there_are_no_more_workers_than_pieces():
    assert share(nodes((8, 0)), 3).workers == 3
    assert share(nodes((8, 0)), 0).workers == 1


def test_a_worker_that_fits_nowhere_is_refused_with_what_there_is():
    with pytest.raises(ClusterError, match=r'2 CPU and 1 GPU for a worker; .*1 and 0.*--ray-gpus'):
        share(nodes((1, 0)), 10, cpus=2.0, gpus=1.0)


@pytest.mark.parametrize('taken, text, threads', [
    (Share(1, 1.0, 0.0), '1 worker of 1 CPU', 1),
    (Share(3, 2.5, 0.5), '3 workers of 2.5 CPU and 0.5 GPU', 2),
    (Share(2, 0.0, 0.0), '2 workers of 0 CPU', 1),
])
def test_shares_in_words_and_threads(taken, text, threads):
    assert str(taken) == text
    assert taken.threads == threads


@pytest.mark.parametrize('args, message', [
    (['--ray-workers', '2'], '--ray-workers counts with --ray alone'),
    (['--ray', '--ray-workers', '0'], '--ray-workers is 0: it must be at least 1'),
    (['--ray', '--ray-cpus', '-1'], '--ray-cpus is -1.0: it must be at least 0'),
    (['--ray', '--ray-gpus', 'nan'], '--ray-gpus is nan: it must be at least 0'),
    (['--ray', '--shard', '0/2'], '--shard cannot be combined with --ray'),
    (['--ray', '--device', 'cuda:1'], '--device is cuda:1: .* write cuda'),
    (['--ray', '.'], "--ray is '.', which is a file or a folder: write --ray behind"),
])
def test_arguments_that_do_not_go_together_are_refused(args, message):
    with pytest.raises(ValueError, match=message):
        check_cluster(options(*args))


@pytest.mark.parametrize('args', [[], ['--shard', '1/2'], ['--ray'], ['--ray', 'local'], [
    '--ray', 'head:6379', '--ray-workers', '2', '--ray-cpus', '0.5', '--ray-gpus', '0']])
def test_arguments_that_go_together(args, monkeypatch):
    monkeypatch.setattr(arguments, 'find_spec', lambda name: 'it is there')
    check_cluster(options(*args))


@pytest.mark.parametrize('tool, args', [
    (segment_bag, ['in', 'out', '--ray-cpus', '2']),
    (evaluate, ['--dataset', 'demo', '--ray', '--compare']),
    (evaluate, ['--dataset', 'demo', '--ray', '--shard', '1/2']),
])
def test_tools_refuse_them_as_bad_arguments(tool, args, capsys):
    with pytest.raises(SystemExit) as ended:
        tool.main(args)
    assert ended.value.code == 2
    assert '--ray' in capsys.readouterr().err


def test_records_are_not_kept_at_a_url(capsys):
    with pytest.raises(SystemExit) as ended:
        evaluate.main(['--dataset', 'demo', '--out', 's3://bucket/out'])
    assert ended.value.code == 2
    assert 's3://bucket/out is a URL' in capsys.readouterr().err


@pytest.mark.parametrize('tool, args', [
    (segment_bag, ['in', 'out', '--ray']), (evaluate, ['--dataset', 'demo', '--ray'])])
def test_without_ray_the_next_step_is_told(tool, args, monkeypatch, capsys):
    monkeypatch.setattr(arguments, 'find_spec', lambda name: None)
    with pytest.raises(SystemExit) as ended:
        tool.main(args)
    assert ended.value.code == 2
    assert "pip install 'ray[default]'" in capsys.readouterr().err


def test_nothing_of_ray_is_loaded_without_being_asked_for():
    code = ('import sys, csa_ros.tools.segment_bag, csa_ros.tools.evaluate\n'
            'sys.exit(any(name.partition(".")[0] in ("ray", "fsspec", "upath") '
            'for name in sys.modules))')
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
