"""Several cameras share one model and one legend, and none of them can delay another."""

import array
import itertools
import weakref

from graph import ACTIVATE
from graph import CLEANUP
from graph import CONFIGURE
from graph import DEACTIVATE
from graph import make_image
from graph import stamp_of
from graph import wait_for
from graph import WORDS
import numpy as np
import pytest
import torch

NAMES = ['front', 'rear']


class Masks(dict):
    """The masks that have arrived from each camera, and a way to send it images."""

    def __init__(self, graph, names=NAMES):
        super().__init__({name: [] for name in names})
        self._graph = graph
        self._stamp = 0
        for name, masks in self.items():
            graph.listen(f'{name}/labels', masks)

    def send(self, name, **kwargs):
        """Send one image and return its stamp, later than all before."""
        self._stamp += 1
        stamp = (2000 + self._stamp // 1000, self._stamp % 1000 * 10**6)
        self._graph.send_to(f'{name}/image', make_image(stamp=stamp, **kwargs))
        return stamp

    def flow(self, *names):
        """Send images to cameras until each has a new mask."""
        seen = {name: len(self[name]) for name in names}

        def step():
            for name in names:
                self.send(name)
            return all(len(self[name]) > seen[name] for name in names)

        wait_for(step, f'masks of {names}')
        self._graph.settle()


@pytest.fixture
def masks(graph, tmp_path):
    graph.start(tmp_path, listen=False, cameras=NAMES)
    graph.listen_to_legend(graph.legends)
    masks = Masks(graph)
    masks.flow(*NAMES)
    wait_for(lambda: graph.legends, 'the legend')
    return masks


def class_count(mask):
    labels = np.unique(np.frombuffer(mask.data, np.uint8))
    assert len(labels) == 1
    return int(labels[0]) + 1


def hold_up(graph, masks, name):
    """Let the model be busy with a frame of one camera."""
    graph.segmenter.may_segment.clear()
    count = graph.report(name).totals['received']
    masks.send(name)
    wait_for(lambda: graph.report(name).totals['received'] > count)
    wait_for(lambda: not graph.node._pipeline._frames._items)


def let_go(graph):
    before = len(graph.segmenter.batches)
    graph.segmenter.may_segment.set()
    return before


def test_each_camera_has_topics_of_its_own(graph, masks):
    topics = dict(graph.client.get_topic_names_and_types())
    for name in NAMES:
        for output in ('labels', 'labels/compressed', 'overlay', 'overlay/compressed',
                       'confidence', 'mask', 'points', 'autoware_mask'):
            assert f'/segment/{name}/{output}' in topics
    assert '/segment/labels' not in topics
    assert '/image' not in {name for name, _ in graph.node.get_subscriber_names_and_types_by_node(
        'segment', '/')}


def test_mask_has_the_stamp_and_size_of_its_cameras_image(graph, masks):
    for name, size in (('front', (80, 60)), ('rear', (48, 64))):
        stamps = set()

        def arrived():
            stamps.add(masks.send(name, width=size[0], height=size[1]))
            return [mask for mask in masks[name] if stamp_of(mask) in stamps]

        mask = wait_for(arrived)[0]
        assert (mask.width, mask.height) == size
    assert not {stamp_of(mask) for mask in masks['front']} & {
        stamp_of(mask) for mask in masks['rear']}


def test_frames_that_wait_are_one_batch(graph, masks):
    hold_up(graph, masks, 'front')
    stamps = {name: masks.send(name) for name in ('rear', 'front')}
    wait_for(lambda: len(graph.node._pipeline._frames._items) == 2)
    before = let_go(graph)
    wait_for(lambda: all(masks[name] and stamp_of(masks[name][-1]) == stamps[name]
                         for name in NAMES))
    assert graph.segmenter.batches[before:] == [1, 2]


def test_frames_of_different_size_are_no_batch(graph, masks):
    hold_up(graph, masks, 'front')
    stamps = {'front': masks.send('front', width=80, height=60), 'rear': masks.send('rear')}
    wait_for(lambda: len(graph.node._pipeline._frames._items) == 2)
    before = let_go(graph)
    wait_for(lambda: all(masks[name] and stamp_of(masks[name][-1]) == stamps[name]
                         for name in NAMES))
    assert graph.segmenter.batches[before:] == [1, 1, 1]


def test_camera_that_floods_leaves_the_other_its_turn(graph, masks):
    hold_up(graph, masks, 'front')
    stamp = masks.send('rear')
    wait_for(lambda: len(graph.node._pipeline._frames._items) == 1)
    dropped = {name: graph.report(name).totals['dropped'] for name in NAMES}

    def flooded():
        masks.send('front')
        return graph.report('front').totals['dropped'] > dropped['front'] + 10

    wait_for(flooded)
    before = let_go(graph)
    wait_for(lambda: stamp_of(masks['rear'][-1]) == stamp)
    graph.settle()
    assert graph.segmenter.batches[before:before + 2] == [1, 2]
    assert graph.report('rear').totals['dropped'] == dropped['rear']


def test_camera_that_is_gone_does_not_delay_the_other(graph, masks):
    count = len(masks['rear'])
    for _ in range(5):
        masks.flow('front')
    assert len(masks['rear']) == count


def test_bad_image_of_one_camera_is_its_own(graph, masks):
    hold_up(graph, masks, 'front')
    bad = make_image(stamp=(9000, 0))
    bad.data = array.array('B', bytes(10))
    graph.send_to('front/image', bad)
    stamp = masks.send('rear')
    wait_for(lambda: len(graph.node._pipeline._frames._items) == 2)
    let_go(graph)
    wait_for(lambda: stamp_of(masks['rear'][-1]) == stamp)
    assert [graph.report(name).totals['bad'] for name in NAMES] == [1, 0]
    explained = wait_for(lambda: {item.name for item in graph.statuses
                                  if 'arrived' in item.message and item.level == item.WARN})
    assert explained == {'segment: front'}


def test_batch_that_fails_is_tried_frame_by_frame(graph, masks, monkeypatch):
    submit = graph.segmenter.submit
    held, freed = [], []

    def fail_together(images, *args, **kwargs):
        if len(images) > 1:
            memory = np.zeros(1)
            held.append(weakref.ref(memory))
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')
        freed.extend(memory() is None for memory in held)
        return submit(images, *args, **kwargs)

    monkeypatch.setattr(graph.segmenter, 'submit', fail_together)
    hold_up(graph, masks, 'front')
    stamps = {name: masks.send(name) for name in NAMES}
    wait_for(lambda: len(graph.node._pipeline._frames._items) == 2)
    let_go(graph)
    wait_for(lambda: all(stamp_of(masks[name][-1]) == stamps[name] for name in NAMES))
    assert [graph.report(name).totals['failed'] for name in NAMES] == [0, 0]
    # What they held together is free when they are tried alone.
    assert freed == [True, True]


def test_one_legend_is_for_all(graph, masks):
    assert graph.set_each(vocabulary='car, bus, tree') == ['']

    def changed():
        for name in NAMES:
            masks.send(name)
        return all(masks[name] and class_count(masks[name][-1]) == 3 for name in NAMES)

    wait_for(changed)
    assert [legend['version'] for legend in graph.legends] == [1, 2]


def test_late_image_of_one_camera_gets_the_words_of_its_time(graph, masks):
    """Its legend is the one that its stamp points to, although a newer one is in force."""
    sec, nanosec = masks.send('rear')
    graph.settle()
    masks.flow('front')
    assert graph.set_each(vocabulary='car, bus, tree') == ['']
    wait_for(lambda: graph.legends[-1]['version'] == 2)
    late = itertools.count(nanosec + 1)

    def arrived():
        graph.send_to('rear/image', make_image(stamp=(sec, next(late))))
        return [mask for mask in masks['rear'] if stamp_of(mask) > (sec, nanosec)]

    assert class_count(wait_for(arrived)[0]) == len(WORDS)
    assert graph.legends[-1]['stamp']['nanosec'] > next(late)


def test_nobody_listens_to_one_of_them(graph, tmp_path):
    graph.start(tmp_path, listen=False, cameras=NAMES)
    masks = Masks(graph, ['front'])
    masks.flow('front')

    def idle():
        masks.send('rear')
        return graph.report('rear').totals['idle'] > 3

    wait_for(idle)
    assert graph.report('rear').totals['published'] == 0


def test_memories_of_cameras_are_their_own(graph, tmp_path):
    graph.start(tmp_path, listen=False, cameras=NAMES, reuse_threshold=1.0, reuse_frames=1000)
    masks = Masks(graph)
    for _ in range(3):
        masks.flow(*NAMES)
    for camera in graph.node._pipeline.cameras:
        assert camera.memory.windows_encoded < camera.memory.windows_seen


def test_cameras_change_only_while_unconfigured(graph, masks):
    reason, = graph.set_each(cameras='left')
    assert 'cameras cannot change while the model is loaded' in reason
    for transition in DEACTIVATE, CLEANUP:
        assert graph.change_state(transition)
    assert graph.set_each(cameras='left') == ['']
    for transition in CONFIGURE, ACTIVATE:
        assert graph.change_state(transition)
    left = Masks(graph, ['left'])
    left.flow('left')
    wait_for(lambda: any(status.name == 'segment: left' for status in graph.statuses),
             'a status of the new camera')
