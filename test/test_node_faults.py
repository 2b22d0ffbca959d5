"""What goes wrong around the node: it says so, leaves nothing half done, and recovers."""

from contextlib import ExitStack
import errno
from functools import partial
import os
import resource
import signal
import time
import warnings

from csa_ros.model.backbone import int8_missing
from csa_ros.model.int8 import Int8Encoder
from csa_ros.model.text import TextEncoder
from csa_ros.segmenter import Segmenter
from graph import ACTIVATE
from graph import CLEANUP
from graph import CONFIGURE
from graph import DEACTIVATE
from graph import Graph
from graph import make_image
from graph import wait_for
from lifecycle_msgs.msg import Transition
import numpy as np
import open_clip
import pytest
import signals
import torch
from towers import make_backbone
from towers import make_clip
from towers import register

OUT_OF_MEMORY = torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')


def totals(graph):
    return graph.report().totals


def recovers(graph):
    """Let the node pause and go on; the next frame must be labelled."""
    assert graph.change_state(DEACTIVATE)
    assert graph.change_state(ACTIVATE)
    graph.mask_of(make_image(stamp=(9999, 0)))


def test_exceptions_of_the_worker_fail_one_frame_each(graph, tmp_path):
    graph.start(tmp_path).flow()
    errors = [
        OUT_OF_MEMORY, MemoryError(), RuntimeError('cuDNN error'), ValueError('shape'),
        KeyError('missing'), AssertionError(), StopIteration(), OSError(errno.EIO, 'disk'),
        UnicodeDecodeError('utf-8', b'x', 0, 1, 'bad')]
    for error in errors:
        failed = totals(graph)['failed']
        graph.segmenter.error = error
        graph.stream(lambda: totals(graph)['failed'] > failed)
        assert type(error).__name__ in graph.report().last_error
        graph.segmenter.error = None
        graph.flow()
    wait_for(lambda: any(item.level != item.OK and 'UnicodeDecodeError' in item.message
                         for item in graph.statuses), 'diagnostics that say so')
    recovers(graph)


def test_a_gpu_out_of_memory_gets_its_cache_back(graph, tmp_path, monkeypatch):
    """Another process may need it; what the failed frame held is free by then."""
    emptied = []
    graph.start(tmp_path).flow()
    monkeypatch.setattr(torch.cuda, 'empty_cache', lambda: emptied.append(1))
    graph.segmenter.error = RuntimeError('something else')
    graph.stream(lambda: totals(graph)['failed'])
    assert not emptied
    graph.segmenter.error = OUT_OF_MEMORY
    graph.stream(lambda: emptied)
    graph.segmenter.error = None
    graph.mask_of(make_image(stamp=(9000, 0)))


def test_words_that_run_out_of_memory_are_encoded_when_set_again(graph, tmp_path, monkeypatch):
    graph.start(tmp_path).flow()
    encode = TextEncoder.encode
    with monkeypatch.context() as patch:
        def fail(*_, **__):
            raise OUT_OF_MEMORY

        patch.setattr(TextEncoder, 'encode', fail)
        assert graph.set_each(vocabulary='a, b, c') == ['']
        wait_for(lambda: 'OutOfMemoryError' in graph.node._pipeline.fault, 'the fault')
        graph.flow()
        assert set(graph.labels[-1].data) == {1}
    assert TextEncoder.encode is encode
    assert graph.set_each(vocabulary='a, b, c') == ['']
    graph.stream(lambda: set(graph.labels[-1].data) == {2})
    assert graph.node._pipeline.fault == ''
    recovers(graph)


def test_a_publisher_that_fails_costs_one_frame(graph, tmp_path, monkeypatch):
    graph.start(tmp_path).flow()
    outputs = type(graph.node._pipeline.cameras[0].outputs)
    with monkeypatch.context() as patch:
        def fail(*_, **__):
            raise RuntimeError('publisher is invalid')

        patch.setattr(outputs, 'publish', fail)
        graph.stream(lambda: totals(graph)['failed'])
    graph.mask_of(make_image(stamp=(9000, 0)))
    recovers(graph)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Return a checkpoint, of an architecture that open_clip knows for as long as the test."""
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIG_PATHS',
                        list(open_clip.factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(open_clip.factory, '_MODEL_CONFIGS', {})
    register(tmp_path, 'Tiny')
    path = tmp_path / 'weights' / 'tiny.pt'
    path.parent.mkdir()
    torch.save(make_clip().state_dict(), path)
    return path


@pytest.mark.parametrize('vanish', [
    lambda path: path.rename(path.with_suffix('.away')),
    lambda path: path.parent.rename(path.parent.with_suffix('.away')),
    lambda path: (path.rename(path.with_suffix('.away')), path.mkdir()),
    lambda path: (path.rename(path.with_suffix('.away')), path.touch()),
], ids=['file', 'directory', 'directory in its place', 'empty file'])
def test_a_model_that_vanishes_is_named_and_taken_when_it_is_back(
        graph, tmp_path, tiny, vanish):
    content = tiny.read_bytes()
    graph.start(tmp_path, autostart=False, load=Segmenter.load, model=f'Tiny:{tiny}',
                device='cpu')
    vanish(tiny)
    assert not graph.change_state(CONFIGURE)
    assert graph.state() == 'unconfigured'
    wait_for(lambda: any(item.level == item.ERROR and str(tiny) in item.message
                         for item in graph.statuses), 'an ERROR that names the file')
    if tiny.is_dir():
        tiny.rmdir()
    tiny.parent.mkdir(exist_ok=True)
    tiny.write_bytes(content)
    assert graph.change_state(CONFIGURE)
    assert graph.change_state(ACTIVATE)
    graph.flow()


def test_a_model_that_vanishes_later_does_not_matter_until_it_is_loaded_again(
        graph, tmp_path, tiny):
    graph.start(tmp_path, load=Segmenter.load, model=f'Tiny:{tiny}', device='cpu').flow()
    content = tiny.read_bytes()
    tiny.unlink()
    recovers(graph)
    for transition in DEACTIVATE, CLEANUP:
        assert graph.change_state(transition)
    assert not graph.change_state(CONFIGURE)
    tiny.write_bytes(content)
    assert graph.change_state(CONFIGURE)
    assert graph.change_state(ACTIVATE)
    graph.flow()


def save_half(file, array):
    """Do as `np.save` on a disk that fills up meanwhile."""
    file.write(bytes(array)[:10])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_costs_the_node_nothing_but_the_cache(graph, tmp_path, monkeypatch):
    cache = tmp_path / 'cache'
    graph.start(cache).flow()
    stored = set(cache.rglob('*'))
    with monkeypatch.context() as patch:
        patch.setattr(np, 'save', save_half)
        with pytest.warns(UserWarning, match='not kept on disk.*No space'):
            assert graph.set_each(vocabulary='a, b, c') == ['']
            graph.stream(lambda: set(graph.labels[-1].data) == {2})
    assert graph.node._pipeline.fault == ''
    assert set(cache.rglob('*')) == stored
    recovers(graph)


class FileSizeLimit:
    """Let no file of this process grow beyond some bytes, as on a disk that is full."""

    def __init__(self, size):
        self._size = size

    def __enter__(self):
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._limits[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


def test_text_features_that_do_not_fit_on_disk_leave_nothing_half_written(tmp_path):
    encoder = TextEncoder(make_backbone(), tmp_path)
    with warnings.catch_warnings(record=True) as caught, FileSizeLimit(150):
        warnings.simplefilter('always')
        features = encoder.encode(['road', 'sky'], 'simple')
    assert any('not kept on disk' in str(warning.message) for warning in caught)
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]
    torch.testing.assert_close(
        features, TextEncoder(make_backbone(), tmp_path).encode(['road', 'sky'], 'simple'))
    assert len(list(tmp_path.rglob('*.npy'))) == 2


@pytest.mark.skipif(bool(int8_missing()), reason=int8_missing())
def test_an_exported_tower_that_does_not_fit_on_disk_leaves_nothing_half_written(
        tmp_path, monkeypatch):
    for name in 'TMPDIR', 'TEMP', 'TMP':
        monkeypatch.setenv(name, str(tmp_path))
    encoder = Int8Encoder(make_backbone(), cache_dir=tmp_path / 'cache')
    with warnings.catch_warnings(), FileSizeLimit(5000), pytest.raises(OSError, match='too large'):
        warnings.simplefilter('ignore')
        encoder(torch.zeros(1, 3, 32, 32))
    assert not [path for path in tmp_path.rglob('*') if path.is_file()]


def unconfigured(graph):
    assert graph.state() == 'unconfigured'


def loading(graph):
    wait_for(lambda: 'segment' in graph.client.get_node_names(), 'a node')
    time.sleep(0.3)


def inactive(graph):
    assert graph.change_state(CONFIGURE)


def active(graph):
    inactive(graph)
    assert graph.change_state(ACTIVATE)
    graph.listen('labels', graph.labels)
    graph.stream(lambda: graph.labels)


def encoding(graph):
    active(graph)
    assert graph.set_each(vocabulary='a, b, c') == ['']
    graph.stream(lambda: True)


def segmenting(graph):
    active(graph)
    graph.stream(lambda: graph.labels, make=partial(make_image, signals.ENDLESS_WIDTH))


def finalized(graph):
    assert graph.change_state(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN)
    assert graph.state() == 'finalized'


# Of these the process waits for its threads.
BUSY = encoding, segmenting
# Once the process has ended its node may be seen so long, in seconds: DDS forgets one that has
# said nothing after 20.
GOODBYE = 2.0


@pytest.mark.parametrize('reach', [
    unconfigured, loading, inactive, active, encoding, segmenting, finalized],
    ids=lambda reach: reach.__name__)
def test_signals_end_the_process_in_every_state(tmp_path, reach):
    """Exit code 0, in less time than launch waits before it kills, and nothing is left behind."""
    started = {}
    with ExitStack() as stack:
        for number in signal.SIGINT, signal.SIGTERM:
            graph = stack.enter_context(Graph())
            folder = tmp_path / number.name
            folder.mkdir()
            load = signals.load_slowly if reach is loading else signals.load_quickly
            process = signals.start(
                folder, graph.domain, folder / 'output', load,
                '-p', f'autostart:={"true" if reach is loading else "false"}',
                '-p', 'vocabulary:=[sky, road]', '-p', 'prompts:=simple')
            started[number] = graph, process
            reach(graph)
            os.kill(process.pid, number)
            if reach in BUSY:
                # What launch does while the node waits for its threads.
                for repeated in signal.SIGINT, signal.SIGTERM:
                    time.sleep(0.2)
                    os.kill(process.pid, repeated)
        for number, (graph, process) in started.items():
            process.join(15)
            code = process.exitcode
            process.kill()
            output = (tmp_path / number.name / 'output').read_text()
            assert code == 0, (number, output)
            assert 'Traceback' not in output, (number, output)
            left = [path for path in (tmp_path / number.name).rglob('*') if path.is_file()]
            assert {path.suffix for path in left} <= {'', '.npy'}, left
            wait_for(lambda graph=graph: 'segment' not in graph.client.get_node_names(),
                     f'a graph without the node that {number.name} ended', GOODBYE)
