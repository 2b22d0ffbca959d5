"""Work on a real cluster of Ray: nothing is lost, and results are those of one process."""

from collections import Counter
import json
import os
from pathlib import Path
import signal
import socket
import threading
import time
from types import SimpleNamespace

from csa_ros.bags.errors import BagError
from csa_ros.bags.reading import Recording
from csa_ros.bags.run import Task
from csa_ros.bags.shared_folder import SharedFolder
from csa_ros.cluster.errors import ClusterError
from csa_ros.cluster.resources import Share
from csa_ros.evaluation.datasets.benchmark import BenchmarkError
from csa_ros.evaluation.datasets.demo import DEMO
from csa_ros.evaluation.datasets.demo import DEMO_HARD
from csa_ros.tools import evaluate
from csa_ros.tools import segment_bag
import pytest
from recordings import camera
from recordings import record
from recordings import rewrite

NO_RAY = 'Ray has no wheel for this machine, or is not installed'
connection = pytest.importorskip('csa_ros.cluster.connection', reason=NO_RAY)
pool = pytest.importorskip('csa_ros.cluster.pool', reason=NO_RAY)
bags = pytest.importorskip('csa_ros.bags.cluster', reason=NO_RAY)
data_sets = pytest.importorskip('csa_ros.evaluation.cluster', reason=NO_RAY)
clusters = pytest.importorskip('clusters', reason=NO_RAY)
WORDS = 'sky, road, car'
CPUS = 2
# What a result says of its making.
CHANGING = 'command', 'machine', 'seconds'


@pytest.fixture(scope='module')
def address():
    with clusters.cluster(CPUS) as made:
        yield made.address


@pytest.fixture
def doubled(address, tmp_path):
    """Return a function that has numbers doubled, and what was said and shown meanwhile."""
    def run(*pieces, workers=CPUS, setup=()):
        said, shown = [], []
        with connection.connected(address):
            made = pool.Pool(clusters.Doubler, [str(tmp_path), *setup], Share(workers, 1.0, 0.0),
                             shown.append, said.append)
            outcomes = {pieces[outcome.number]: outcome.result or outcome.failure
                        for outcome in made.run(pieces)}
        return outcomes, said, made.nodes

    return run


def test_each_piece_comes_back_whatever_becomes_of_others(doubled, tmp_path):
    pieces = [('fine', number) for number in range(20)]
    bad = [('raises', 7), ('crashes', 8), ('crashes once', 9)]
    outcomes, said, nodes = doubled(*pieces[:10], *bad, *pieces[10:])
    assert {piece: outcomes[piece] for piece in pieces} == {
        ('fine', number): 2 * number or '' for number in range(20)}
    assert outcomes['raises', 7] == '7 cannot be doubled'
    assert outcomes['crashes', 8].startswith('its worker has died 4 times of it: ')
    assert len((tmp_path / 'crashes-8').read_text().splitlines()) == 4
    assert outcomes['crashes once', 9] == 18
    assert said == []
    assert sum(node.images for node in nodes) == 21
    assert sum(node.amount for node in nodes) == 21


def test_a_worker_that_is_killed_is_replaced_and_its_piece_done_again(doubled, tmp_path):
    def kill():
        tries = tmp_path / 'waits-3'
        while not tries.exists() or not tries.read_text():
            time.sleep(0.05)
        os.kill(int(tries.read_text()), signal.SIGKILL)
        (tmp_path / 'go').touch()

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes, _, _ = doubled(('waits', 3), ('fine', 4))
    killer.join()
    assert outcomes == {('waits', 3): 6, ('fine', 4): 8}


def test_a_model_that_cannot_be_loaded_ends_the_work_with_its_reason(doubled):
    with pytest.raises(ClusterError, match='no worker of the cluster can go on: .*no such model'):
        doubled(('fine', 1), setup=['no such model'])


@pytest.mark.parametrize('address', ['nonsense', 'host:', ':6379', 'host:port', 'ray://host'])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ClusterError, match=f'{address!r} is no address .* HOST:PORT'):
        with connection.connected(address):
            pass


def test_an_address_where_nobody_listens_is_told_at_once():
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        address = f'127.0.0.1:{taken.getsockname()[1]}'
        with pytest.raises(ClusterError, match=f'no cluster answers at {address}: .*ray start'):
            with connection.connected(address):
                pass


def test_a_cluster_that_wants_a_token_is_told_from_one_that_is_not_there(monkeypatch):
    def refuse(**options):
        raise ConnectionError('Failed to connect')

    monkeypatch.setattr(connection.ray, 'init', refuse)
    with socket.socket() as listening:
        listening.bind(('127.0.0.1', 0))
        listening.listen()
        address = f'127.0.0.1:{listening.getsockname()[1]}'
        with pytest.raises(ClusterError, match=f'{address} cannot be used: .*RAY_AUTH_MODE=token'):
            with connection.connected(address):
                pass


class Lost:
    """A process that cannot be reached any more, or, if it is `sound`, one that can."""

    def __init__(self, sound):
        self.sound = sound
        self.work = SimpleNamespace(remote=lambda number, *piece: (self, number))
        self.ready = SimpleNamespace(remote=lambda: (self, None))


@pytest.mark.parametrize('begun, expected', [
    (1, {0: '', 1: '', 2: '', 3: ''}),
    # The one that is lost was given the first piece.
    (4, {0: 'its worker has died 4 times of it', 1: '', 2: '', 3: ''})])
def test_what_a_machine_was_at_that_is_gone_is_done_by_another(monkeypatch, begun, expected):
    def get(reference, timeout=None):
        if isinstance(reference, int):
            return reference
        process, number = reference
        if not process.sound:
            raise pool.ActorUnavailableError('it cannot be reached', None)
        return number

    monkeypatch.setattr(pool.ray, 'get', get)
    # What cannot be reached does not answer that it is ready.
    monkeypatch.setattr(pool.ray, 'wait', lambda references, **_: (
        [each for each in references if each[0].sound or each[1] is not None], []))
    made = object.__new__(pool.Pool)
    made._idle, made._rounds = [Lost(sound=True), Lost(sound=False)], Counter()
    made._board = SimpleNamespace(begun=SimpleNamespace(remote=lambda number: begun))
    monkeypatch.setattr(made, '_look', lambda: None, raising=False)
    pieces = [(), (), (), ()]
    outcomes = {outcome.number: outcome.failure for outcome in made.run(pieces)}
    assert {number: failure.partition(': ')[0]
            for number, failure in outcomes.items()} == expected


def test_another_version_on_a_node_is_told(tmp_path):
    with pytest.raises(ClusterError, match='csa_ros on .* is not the one .* install the same'):
        pool._Process(
            clusters.Doubler, 'board', str(tmp_path), 'of another version', str(tmp_path))


def test_a_folder_that_a_node_does_not_share_is_told(tmp_path, monkeypatch):
    for module in bags, data_sets:
        monkeypatch.setattr(module, 'set_threads', lambda count: None)
    monkeypatch.setattr(bags, 'load', lambda request: None)
    monkeypatch.setattr(data_sets, 'load_backbone', lambda *asked: None)
    out = tmp_path / 'out'
    task = Task(SimpleNamespace(out=out), SharedFolder(out, {}, 1), [])
    with pytest.raises(BagError, match=f'{out} is not what .* sees there: .* all nodes share'):
        bags._Worker(None, 1).work(None, task, 0)
    request = SimpleNamespace(out=out, model='demo', device='cpu', precision='auto')
    with pytest.raises(BenchmarkError, match=f'{out} is not what .* sees there: .* all nodes'):
        data_sets._Worker(request, 1).work(None, None)


def test_all_that_failed_of_a_data_set_is_told_with_its_name(tmp_path, monkeypatch):
    outcomes = [pool.Outcome(0, failure='a.png is damaged'), pool.Outcome(2, ({'miou': 1}, '')),
                pool.Outcome(1, failure='b.png is damaged')]
    monkeypatch.setattr(data_sets, 'Pool', lambda *arguments: SimpleNamespace(
        run=lambda pieces: iter(outcomes), nodes=[]))
    monkeypatch.setattr(data_sets, '_PIECE', 25)
    request = data_sets.Request(None, 50, tmp_path, 'demo', 'auto', 'auto', None, '', 1)
    work = [piece for benchmark in (DEMO, DEMO_HARD)
            for piece in data_sets.pieces(benchmark, request)]
    assert [piece.pictures for piece in work] == [25] * 4
    first, second = data_sets.evaluate(work, request, Share(1, 1.0, 0.0), print)
    assert first.failures == ('Rendered streets: part 0 of 0 to 1 failed: a.png is damaged',
                              'Rendered streets: part 1 of 0 to 1 failed: b.png is damaged')
    assert first.result is None
    assert second.result == {'miou': 1} and not second.failures


def tree(folder):
    """Return the contents of all files in a folder."""
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob('*')) if path.is_file()}


def test_recordings_become_what_one_process_makes_of_them(
        address, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = record(Path('good'), image=camera(6))
    bad = damaged(record(Path('whole'), image=camera(6)), Path('bad.mcap'))
    arguments = ['--vocabulary', WORDS, '--model', 'demo', '--part-images', '2', '--name', 'eye']
    assert segment_bag.main([str(good), 'one/good', *arguments]) == 0
    capsys.readouterr()
    on_ray = [str(good), str(bad), 'many', '--ray', address, *arguments]
    assert segment_bag.main(on_ray) == 1
    told = capsys.readouterr().err
    assert f'Ray: {CPUS} workers of 1 CPU on 1 node' in told
    assert tree(Path('many/good')) == tree(Path('one/good'))
    failures = [line for line in told.splitlines() if 'part' in line and 'failed' in line]
    assert len(failures) == 1
    assert 'bad.mcap: part 1 of 0 to 2, from 0.2 to 0.4 s, failed: ' in failures[0]
    assert not (Path('many/bad') / 'metadata.yaml').exists()
    # Those beside it stay.
    space = SharedFolder(Path('many/bad'), {}, 3)
    assert space.missing == [1]


def damaged(bag, path):
    """Write a bag with a chunk for each message, of which the fourth is damaged."""
    rewrite(bag, path, chunk_size=1)
    data = bytearray(path.read_bytes())
    with Recording(path) as recording:
        chunk = recording._reader.storage.chunks[3]
    data[chunk.chunk_start_offset + chunk.chunk_length - 100] ^= 0xff
    path.write_bytes(data)
    return path


def test_data_sets_come_to_what_one_process_finds(address, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data_sets, '_PIECE', 1)
    arguments = ['--dataset', 'demo', '--limit', '2', '--short-side', '64', '--worst', '1']
    assert evaluate.main([*arguments, '--out', 'one']) == 0
    on_ray = ['--out', 'many', '--ray', address, '--ray-workers', '1']
    assert evaluate.main([*arguments, *on_ray]) == 0
    assert 'all of it is in many/demo' in capsys.readouterr().err
    results = [json.loads(next(Path(out).rglob('result.json')).read_text())
               for out in ('one', 'many')]
    same = [{key: value for key, value in result.items() if key not in CHANGING}
            for result in results]
    assert same[0] == same[1]
    assert same[0]['segmented'] == 2
