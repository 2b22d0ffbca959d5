"""GroupViT in the node, over DDS: its segments, its labels, and what it refuses."""

from builtin_interfaces.msg import Time
from csa_ros.ros.images import to_message
from csa_ros.segmenter import Segmenter
from graph import Graph
from graph import stamp_of
from graph import wait_for
import groupvit
import pytest
from std_msgs.msg import Header
from test_node_outputs import pixels


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    """Return a running node with the small GroupViT, and who listens to labels and legend."""
    folder = tmp_path_factory.mktemp('cache')

    def load(model, device, precision, attention, residual, settings, measure):
        backbone = groupvit.backbone(preset=groupvit.READING)
        return Segmenter(backbone, attention, settings, folder, residual)

    with Graph() as running:
        running.start(folder, load=load).flow()
        yield running


def make_mosaic(stamp):
    header = Header(stamp=Time(sec=stamp[0], nanosec=stamp[1]), frame_id='camera_optical')
    return to_message(groupvit.MOSAIC, 'rgb8', header)


def test_segments_are_made_where_somebody_listens(graph):
    segmenter, asked, segments = graph.node._pipeline.segmenter, [], []
    segment = segmenter.segment
    segmenter.segment = lambda *given, **wanted: (
        asked.append(wanted['segments']), segment(*given, **wanted))[1]
    assert wait_for(lambda: graph.client.count_publishers('/segment/segments'))
    graph.flow()
    assert not any(asked)
    subscription = graph.listen('segments', segments)
    graph.stream(lambda: segments, make_mosaic)

    def pair():
        found = {stamp_of(each): each for each in segments}
        return next(((found[stamp_of(mask)], mask) for mask in graph.labels
                     if stamp_of(mask) in found), None)

    shown, mask = graph.stream(pair, make_mosaic)
    assert (shown.encoding, shown.width, shown.height) == ('mono8', mask.width, mask.height)
    assert shown.header == mask.header
    # Four windows of four segments each at most.
    assert pixels(shown).max() < 4 * segmenter.segments == 16
    graph.client.destroy_subscription(subscription)
    wait_for(lambda: not graph.node._pipeline.cameras[0].outputs.segments_wanted())
    asked.clear()
    graph.flow()
    assert asked and not any(asked)
    del segmenter.segment


def test_words_change_and_what_cannot_hold_is_refused(graph):
    assert graph.set_each(vocabulary=['road', 'car|bus', 'tree']) == ['']
    graph.stream(lambda: graph.legends[-1]['version'] == 2)
    assert [each['name'] for each in graph.legends[-1]['classes']] == ['road', 'car', 'tree']
    assert graph.set_each(unknown_threshold=1.0, refine='pamr', find='a red car') == [''] * 3
    graph.stream(lambda: (pixels(graph.labels[-1]) == 255).any(), make_mosaic)
    refusals = graph.set_each(attention='csa', residual='drop', crop=60)
    assert all('cannot change while the model is loaded' in each for each in refusals[:2])
    assert 'multiple of its patch size, 8' in refusals[2]


def test_a_model_of_patches_offers_no_segments(tmp_path):
    with Graph() as graph:
        graph.start(tmp_path).flow()
        assert graph.client.count_publishers('/segment/labels')
        assert not graph.client.count_publishers('/segment/segments')
