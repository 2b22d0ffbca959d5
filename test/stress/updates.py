"""
Random changes of words, of parameters and of what is taught, valid and not, while images flow.

The node runs the demo model in a process of its own, and everything goes through its services and
topics. Whether a change is to be accepted is decided here, by rules of this script. After each
call, the node's parameters must be what they were, with the accepted changes and no other.

Every mask is compared with what the segmenter makes of the same picture here, with the words of
the legend that holds for the mask by its stamp, and with one of the configurations that were in
force as a whole at the time. What comes last must be the last accepted configuration.
"""

import argparse
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
import random
import sys
from tempfile import TemporaryDirectory
import threading
import time
from typing import Any

from csa_ros.bench.timing import Timing
from csa_ros.demo.scenes import Scene
from csa_ros.parameters.config import with_classes
from csa_ros.ros.images import to_message
from csa_ros.segmenter import Segmenter
from csa_ros.settings import REFINE
from csa_ros.settings import Settings
from csa_ros.teaching.examples import Examples
from csa_ros.vocabulary import Vocabulary
import numpy as np
from rcl_interfaces.srv import SetParameters
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from remote import node
from remote import Remote
from remote import wait_for
from report import Report
from report import run
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from tqdm import tqdm

SIZE = (96, 72)
CAMERA_PERIOD = 0.05
# Seconds between requests: some overtake the frames, others are seen by several.
PAUSES = (0.0, 0.0, 0.05, 0.1)
TARGET_P99_MS = 100.0
# Two machines' rounding may differ; another vocabulary differs in far more pixels than these.
EQUAL_SHARE = 0.995
SETTLE_TIMEOUT = 30.0
WORDS = (
    'sky', 'road', 'pavement|sidewalk', 'grass', 'building|house', 'tree', 'car', 'bus', 'truck',
    'person|pedestrian', 'bicycle|bike', 'traffic light', 'traffic cone', 'background=sky|grass',
    'vehicle=car|bus|truck', 'a wet road', 'a red car', 'lamp', 'zebra', 'Straße', '道路', 'x-y',
    "driver's seat", 'no', '1')
ENSEMBLES = ('simple', ['a {}', 'a photo of one {} in a street'], 'the {} of a town')
FIRST = {
    'vocabulary': ['sky', 'road'], 'prompts': 'simple', 'inference': 'slide', 'short_side': 64,
    'crop': 0, 'stride': 0, 'logit_scale': 40.0, 'unknown_threshold': 0.0, 'min_area': 0.0,
    'refine': 'off', 'overlay_alpha': 0.5, 'overlay_legend': True, 'mask_classes': '',
    'points_layout': 'dense', 'depth_slop': 0.05, 'max_rate': 0.0, 'lazy': True,
    'teach_name': '', 'teach_region': ''}
# Known words, one that means another, one that is a synonym in some vocabularies, and none at all.
SHOWN = ('zorblax', 'dock', 'car', 'Road', 'sidewalk', '')
# Of a picture of SIZE: pieces, all of it, too little of it, and nothing of it.
REGIONS = ([8.0, 8.0, 40.0, 40.0], [40.0, 30.0, 50.0, 36.0], '', [3.0, 3.0, 1.0, 1.0],
           [400.0, 8.0, 20.0, 20.0])
# Of all that is sent, what teaches or forgets.
TEACHING_SHARE = 0.1


@dataclass(frozen=True)
class Change:
    """A value for a parameter, and whether it may ever be accepted."""

    name: str
    value: Any
    possible: bool = True


def valid_change(rng: random.Random) -> Change:
    """Return a change that is accepted, unless it does not fit the others."""
    if rng.random() < 0.5:
        return Change('vocabulary', _vocabulary(rng))
    return Change(*rng.choice((
        ('prompts', rng.choice(ENSEMBLES)),
        ('inference', rng.choice(('slide', 'whole'))),
        ('short_side', rng.choice((0, 64, 64, 80, 80, 96))),
        ('crop', rng.choice((0, 32, 48, 64))),
        ('stride', rng.choice((0, 16, 24, 48, 64))),
        ('logit_scale', rng.choice((40, 10.0, rng.uniform(0.01, 1000.0)))),
        ('unknown_threshold', rng.choice((0, 0.3, rng.random()))),
        ('min_area', rng.choice((0, 0.1, rng.random()))),
        ('refine', rng.choice(REFINE)),
        ('overlay_alpha', rng.random()),
        ('overlay_legend', rng.random() < 0.5),
        ('mask_classes', rng.choice(('', ['sky'], 'road, car'))),
        ('points_layout', rng.choice(('dense', 'organized'))),
        ('depth_slop', rng.uniform(0.0, 0.5)),
        ('max_rate', rng.choice((0, 50, 200.0))),
        ('lazy', rng.random() < 0.5))))


def _vocabulary(rng: random.Random) -> Any:
    words = []
    queries = set()
    for word in rng.sample(WORDS, rng.randint(1, 12)):
        # A query belongs to one class.
        new = set(Vocabulary.parse([word]).queries)
        if not new & queries:
            words.append(word)
            queries |= new
    return words if rng.random() < 0.5 else ', '.join(words)


def invalid_change(rng: random.Random) -> Change:
    """Return a change that is refused whatever the node's state."""
    name, value = rng.choice((
        ('vocabulary', ''),
        ('vocabulary', 'road, road'),
        ('vocabulary', 'road, , sky'),
        ('vocabulary', ['car', 'vehicle=car']),
        ('vocabulary', 'x' * rng.randint(101, 2000)),
        ('vocabulary', 'one two three four five ' * 4),
        ('vocabulary', [f'w{i}' for i in range(rng.randint(256, 400))]),
        ('vocabulary', [1, 2]),
        ('vocabulary', rng.random()),
        ('vocabulary', '[road, {a: b}]'),
        ('vocabulary', '../../etc/passwd|\n'),
        ('vocabulary', '@nowhere'),
        ('vocabulary', '@../../../etc/passwd'),
        ('mask_classes', 'no such class'),
        ('points_layout', 'sparse'),
        ('depth_slop', -1),
        ('cameras', ['front', 'left']),
        ('image_topic', rng.choice(('/elsewhere', '/{camera}/image', 'a//b', 5))),
        ('depth_topic', rng.choice((['/a', '/b'], '/{cam}/depth'))),
        ('transport', 'compressed'),
        ('prompts', 'a photo'),
        ('prompts', ['a {}', 'no place']),
        ('prompts', 3),
        ('inference', 'fast'),
        ('inference', True),
        ('short_side', rng.choice((-1, 4, 10**6, 2.5, 'large'))),
        ('crop', rng.choice((-1, 33, 10**6))),
        ('stride', rng.choice((-1, 4096, '8'))),
        ('logit_scale', rng.choice((-0.5, -1.0, float('nan'), float('inf'), 'high'))),
        ('unknown_threshold', rng.choice((-0.1, 1.5, float('nan'), True))),
        ('min_area', rng.choice((-0.1, 2, 'half'))),
        ('refine', rng.choice(('crf', True))),
        ('overlay_alpha', rng.choice((-0.1, 1.5))),
        ('overlay_legend', rng.choice((1, 'yes'))),
        ('max_rate', rng.choice((-1, 1e9, float('nan')))),
        ('lazy', 0),
        ('model', 'ViT-B-16-quickgelu/openai'),
        ('device', 'cuda'),
        ('precision', 'bf16'),
        ('attention', 'vanilla'),
        ('threads', 1),
        ('autostart', False),
        ('vocabluary', 'road')))
    return Change(name, value, False)


class Rules:
    """Which combinations of valid values the demo model takes."""

    def __init__(self, segmenter: Segmenter, picture: np.ndarray) -> None:
        self._segmenter, self._picture = segmenter, picture
        backbone = segmenter.backbone
        self._patch, self._native = backbone.patch_size, backbone.image_size
        self._stride, self._short_side = backbone.stride, backbone.short_side

    def fit(self, state: dict[str, Any]) -> bool:
        """Return whether these parameters go together."""
        crop = state['crop'] or self._native
        stride = state['stride'] or max(crop * self._stride // self._native, 1)
        short_side = state['short_side'] or self._short_side
        classes = state['mask_classes']
        names = classes.split(', ') if isinstance(classes, str) else classes
        known = Vocabulary.parse(state['vocabulary']).names
        return (crop % self._patch == 0 and stride <= crop and short_side >= self._patch
                and all(name in known for name in filter(None, names))
                and (not state['examples'] or state['examples'].fingerprint
                     == self._segmenter.fingerprint(settings_of(state))))

    def teach(self, state: dict[str, Any]) -> dict[str, Any] | None:
        """Return the parameters and examples after a call of ~/teach, None if it is refused."""
        shown = state['teach_name']
        vocabulary = Vocabulary.parse(state['vocabulary'])
        name = next((each for each in vocabulary.names if each.casefold() == shown.casefold()),
                    shown)
        try:
            if name not in vocabulary.names:
                state = {**state, 'vocabulary': with_classes(state['vocabulary'], [name])}
                Vocabulary.parse(state['vocabulary'])
            look = self._segmenter.look(
                self._picture, state['teach_region'] or None, settings_of(state))
            return {**state, 'examples': state['examples'].add(name, look)}
        except ValueError:
            return None

    @staticmethod
    def forget(state: dict[str, Any]) -> dict[str, Any] | None:
        """Return the parameters and examples after a call of ~/forget, None if it is refused."""
        shown, known = state['teach_name'], state['examples']
        name = next((each for each in known.counts if each.casefold() == shown.casefold()), shown)
        left = known.forget(name)
        return None if len(left) == len(known) else {**state, 'examples': left}


class Oracle:
    """What the masks of one picture must be, by the same segmenter in this process."""

    def __init__(self, segmenter: Segmenter, picture: np.ndarray) -> None:
        self._segmenter = segmenter
        self._picture = picture

    def labels(self, state: dict[str, Any]) -> np.ndarray:
        """Return the mask under these parameters."""
        prompts, vocabulary = state['prompts'], state['vocabulary']
        return self._labels(
            settings_of(state), tuple(prompts) if isinstance(prompts, list) else prompts,
            Vocabulary.parse(vocabulary), state['examples'])

    @lru_cache(maxsize=64)
    def _labels(self, settings: Settings, prompts: Any, vocabulary: Vocabulary,
                examples: Examples) -> np.ndarray:
        words = self._segmenter.encode(vocabulary, prompts, examples)
        return self._segmenter.segment(self._picture, words, settings).labels


def settings_of(state: dict[str, Any]) -> Settings:
    """Return the settings that parameters stand for."""
    windows = {name: state[name] or None for name in ('short_side', 'crop', 'stride')}
    return Settings(inference=state['inference'], refine=state['refine'], **windows, **{
        name: float(state[name]) for name in ('logit_scale', 'unknown_threshold', 'min_area')})


@dataclass(frozen=True)
class Mask:
    """A label image, and how many changes had been sent before it came."""

    stamp: tuple[int, int]
    labels: np.ndarray
    sent: int


class Camera:
    """Sends one picture again and again, under rising stamps, in a thread; collects the masks."""

    def __init__(self, remote: Remote, picture: np.ndarray) -> None:
        self._picture = picture
        self._publisher = remote.camera()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.masks = []
        self.sent_changes = 0
        self.images = 0
        remote.listen('labels', self._on_labels)

    def __enter__(self) -> 'Camera':
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(CAMERA_PERIOD):
            self.images += 1
            header = Header(frame_id='camera')
            header.stamp.sec, header.stamp.nanosec = 1000 + self.images, 0
            self._publisher.publish(to_message(self._picture, 'rgb8', header))

    def _on_labels(self, message) -> None:
        labels = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
        stamp = message.header.stamp.sec, message.header.stamp.nanosec
        self.masks.append(Mask(stamp, labels, self.sent_changes))


class Updates:
    """Sends changes, and keeps what the node's parameters must be after each."""

    def __init__(self, remote: Remote, camera: Camera, rules: Rules, report: Report,
                 rng: random.Random) -> None:
        self._remote = remote
        self._camera = camera
        self._rules = rules
        self._report = report
        self._rng = rng
        self.states = [{**FIRST, 'examples': Examples()}]
        self.latencies = []
        self.accepted = self.refused = self.taught = 0

    def send(self) -> int:
        """Send one request, of one change or of several; return how many it held."""
        rng = self._rng
        if rng.random() < TEACHING_SHARE:
            self._teach()
            return 1
        changes = {}
        for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
            change = (valid_change if rng.random() < 0.6 else invalid_change)(rng)
            changes[change.name] = change
        changes = list(changes.values())
        # Those in force at the soonest are known when a mask arrives.
        expected, state = self._judge(changes, atomic := rng.random() < 0.4)
        self._add(state)
        messages = [Parameter(change.name, value=change.value).to_parameter_msg()
                    for change in changes]
        kind, name = ((SetParametersAtomically, 'set_parameters_atomically') if atomic
                      else (SetParameters, 'set_parameters'))
        answer, seconds = self._remote.call(kind, name, kind.Request(parameters=messages))
        self.latencies.append(seconds)
        results = [answer.result] if atomic else answer.results
        self._check(changes, expected, results)
        time.sleep(rng.choice(PAUSES))
        return len(changes)

    def _teach(self) -> None:
        """Say what is shown, and teach or forget it."""
        rng = self._rng
        shown = {'teach_name': rng.choice(SHOWN), 'teach_region': rng.choice(REGIONS)}
        state = {**self.states[-1], **shown}
        self._remote.call(
            SetParametersAtomically, 'set_parameters_atomically',
            SetParametersAtomically.Request(parameters=[
                Parameter(name, value=value).to_parameter_msg()
                for name, value in shown.items()]))
        self._add([state])
        name = 'teach' if rng.random() < 0.6 else 'forget'
        expected = (self._rules.teach if name == 'teach' else self._rules.forget)(state)
        self._add([expected] if expected else [])
        answer, _ = self._remote.call(Trigger, name, Trigger.Request())
        self.taught += answer.success
        self._report.expect(
            answer.success == bool(expected) and bool(answer.message),
            f'~/{name} of {shown}: {answer.success}, {answer.message}')
        self._check_parameters(f'~/{name} of {shown}')

    def _judge(self, changes: list[Change], atomic: bool) -> tuple[list[bool], list[dict]]:
        """Return what is to be accepted, and the parameters after each accepted change."""
        state, states, expected = self.states[-1], [], []
        for group in ([changes] if atomic else [[change] for change in changes]):
            new = {**state, **{change.name: change.value for change in group}}
            accepted = all(change.possible for change in group) and self._rules.fit(new)
            expected.append(accepted)
            if accepted:
                state = new
                states.append(state)
        return expected, states

    def _add(self, states: list[dict]) -> None:
        self.states += states
        self._camera.sent_changes = len(self.states) - 1

    def _check(self, changes: list[Change], expected: list[bool], results: list) -> None:
        accepted = [result.successful for result in results]
        changes_each = len(changes) // len(results)
        self.accepted += changes_each * sum(accepted)
        self.refused += changes_each * (len(accepted) - sum(accepted))
        self._report.expect(
            accepted == expected, f'{changes}: accepted {accepted}, expected {expected}, '
            f'reasons {[result.reason for result in results]}')
        self._report.expect(
            all(result.successful or result.reason for result in results),
            f'{changes}: refused without a reason')
        self._check_parameters(changes)

    def _check_parameters(self, what: object) -> None:
        held = {name: list(value) if isinstance(value, array) else value
                for name, value in self._remote.get(list(FIRST)).items()}
        expected = {name: self.states[-1][name] for name in FIRST}
        self._report.expect(
            held == expected, f'after {what} the parameters are {held}, expected {expected}')


def judge_masks(masks: list[Mask], legends: list[dict], states: list[dict], oracle: Oracle,
                progress: tqdm) -> Iterator[str]:
    """Yield what is wrong with masks: each must be that of a state, under its legend."""
    progress.reset(len(masks))
    progress.set_description('masks')
    oldest = 0
    for mask in masks:
        progress.update()
        legend = _legend_of(mask, legends)
        if legend is None:
            yield f'the mask of {mask.stamp} has no legend'
            continue
        for index in range(oldest, mask.sent + 1):
            if _fits(legend, states[index]) and _equal(mask, oracle.labels(states[index])):
                oldest = index
                break
        else:
            yield (f'the mask of {mask.stamp}, with the ids {np.unique(mask.labels).tolist()}, '
                   f'is none of states {oldest} to {mask.sent} under its legend, version '
                   f'{legend["version"]}: {[item["name"] for item in legend["classes"]]}')


def _legend_of(mask: Mask, legends: list[dict]) -> dict | None:
    """Return the legend with the latest stamp that is not after the mask's."""
    covering = [legend for legend in legends if _stamp(legend) <= mask.stamp]
    return max(covering, key=lambda legend: (_stamp(legend), legend['version']), default=None)


def _stamp(legend: dict) -> tuple[int, int]:
    return legend['stamp']['sec'], legend['stamp']['nanosec']


def _fits(legend: dict, state: dict[str, Any]) -> bool:
    entries = Vocabulary.parse(state['vocabulary']).entries
    taught = state['examples'].counts
    return [(item['name'], tuple(item['queries']), item.get('taught', 0))
            for item in legend['classes']] == [
        (entry.name, entry.queries, taught.get(entry.name, 0)) for entry in entries]


def _equal(mask: Mask, labels: np.ndarray) -> bool:
    return mask.labels.shape == labels.shape and np.mean(mask.labels == labels) >= EQUAL_SHARE


def measure(options: argparse.Namespace, progress: tqdm, report: Report) -> None:
    """Send `options.count` changes; judge what came of them."""
    picture = Scene(1).render(0.0, SIZE).rgb
    started = time.monotonic()
    with (TemporaryDirectory() as cache, node(**FIRST) as remote,
          Camera(remote, picture) as camera):
        segmenter = Segmenter.load('demo', device='cpu', cache_dir=Path(cache))
        updates = Updates(
            remote, camera, Rules(segmenter, picture), report, random.Random(options.seed))
        progress.reset(options.count)
        progress.set_description('changes')
        sent = 0
        wait_for(lambda: camera.masks, 'the first mask')
        while sent < options.count:
            sent += (count := updates.send())
            progress.update(count)
        seconds = time.monotonic() - started
        _settle(camera, updates, Oracle(segmenter, picture))
        memory = remote.resident_bytes() / 1e6
        remote.stop()
        legends = [legend for _, legend in remote.legends]
    versions = sorted({legend['version'] for legend in legends})
    report.expect(versions == list(range(1, len(versions) + 1)), f'a legend is lost: {versions}')
    report.failures += judge_masks(
        camera.masks, legends, updates.states, Oracle(segmenter, picture), progress)
    latency = Timing(updates.latencies)
    report.expect(latency.p99_ms < TARGET_P99_MS,
                  f'p99 of the services is {latency.p99_ms:.0f} ms, over {TARGET_P99_MS:.0f}')
    report.figures = {
        'changes sent': sent,
        'requests': len(updates.latencies),
        'accepted': updates.accepted,
        'refused': updates.refused,
        'taught or forgotten': updates.taught,
        'latency of a request, median (ms)': latency.median_ms,
        'latency of a request, p99 (ms)': latency.p99_ms,
        'latency of a request, longest (ms)': 1e3 * max(updates.latencies),
        'images sent': camera.images,
        'masks, each compared': len(camera.masks),
        'legends': len(versions),
        'memory of the node (MB)': memory,
        'seconds': seconds,
    }


def _settle(camera: Camera, updates: Updates, oracle: Oracle) -> None:
    """Wait until masks are those of the last state."""
    labels = oracle.labels(updates.states[-1])
    wait_for(lambda: _equal(camera.masks[-1], labels), 'a mask of the last state', SETTLE_TIMEOUT)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this run."""
    parser.add_argument('--count', type=int, default=5000,
                        help='changes to send (default %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='of the random choices')


if __name__ == '__main__':
    sys.exit(run(__doc__, add_arguments, measure))
