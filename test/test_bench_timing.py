"""How the bench times, weighs and writes down."""

import io
import json

from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import CLEAR_REFS
from csa_ros.bench.timing import machine
from csa_ros.bench.timing import peak_memory
from csa_ros.bench.timing import table
from csa_ros.bench.timing import Timing
import numpy as np
import pytest
import torch
from tqdm import tqdm


def test_figures_are_milliseconds_of_the_durations():
    timing = Timing([0.001 * i for i in range(101)])
    assert timing.to_dict() == pytest.approx(
        {'median_ms': 50, 'p95_ms': 95, 'p99_ms': 99, 'rounds': 101})
    assert timing.median_ms == pytest.approx(50)


def test_functions_take_turns_and_the_first_round_is_not_counted():
    calls = []
    progress = tqdm(total=0, file=io.StringIO())
    timings = alternate({'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, 3,
                        progress)
    assert calls == ['a', 'b'] * 4
    assert [len(timings[name].seconds) for name in 'ab'] == [3, 3]
    assert progress.n == progress.total == 8


def test_no_rounds_are_refused():
    with pytest.raises(ValueError, match='rounds is 0'):
        alternate({'a': list}, 0)


def test_memory_of_a_call_is_its_peak_and_not_what_is_left():
    if not _can_reset_peak():
        pytest.skip('this kernel does not let a process reset its peak memory')
    size = 64 << 20

    def hold_two():
        return np.ones(size, np.uint8) + np.ones(size, np.uint8)[:1]

    def hold_one():
        return np.ones(size, np.uint8)[0]

    hold_two()
    assert peak_memory(hold_two, 'cpu') == pytest.approx(3 * size, rel=0.1)
    assert peak_memory(hold_one, torch.device('cpu')) == pytest.approx(size, rel=0.1)


def _can_reset_peak():
    try:
        CLEAR_REFS.write_text('5')
    except OSError:
        return False
    return True


def test_machine_can_be_written_as_json():
    found = json.loads(json.dumps(machine()))
    assert found['torch'] == torch.__version__
    assert found['cores'] >= 1
    assert found['cpu']


def test_table_lines_up_and_is_markdown():
    assert table(['path', 'ms'], [['plain', '12.5'], ['a', 3]]) == (
        '| path  |   ms |\n'
        '|-------|-----:|\n'
        '| plain | 12.5 |\n'
        '| a     |    3 |')
