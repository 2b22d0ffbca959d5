"""Masks for Autoware: read back as its own decoder and its fusion node read them."""

import struct

from csa_ros.adapters.autoware import class_ids
from csa_ros.adapters.autoware import CLASSES
from csa_ros.adapters.autoware import encode
from csa_ros.ros.autoware import mask_message
from csa_ros.vocabulary import Vocabulary
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_msgs.msg import Header

# The parameters `filter_semantic_label_target.*` of SegmentPointCloudFusionNode, in its order.
FILTER_TARGETS = ('UNKNOWN BUILDING WALL OBSTACLE TRAFFIC_LIGHT TRAFFIC_SIGN PERSON VEHICLE BIKE '
                  'ROAD SIDEWALK ROAD_PAINT CURBSTONE CROSSWALK VEGETATION SKY').split()
IDENTITY = np.arange(256, dtype=np.uint8)


def decode(data, rows, columns):
    """
    Read runs as Autoware does: a byte and a native int each, pixel after pixel.

    It starts from a mask of zeros and would write past its end, so that a sum of lengths other
    than the number of pixels is an error here.
    """
    mask = np.zeros(rows * columns, np.uint8)
    index = 0
    for offset in range(0, len(data), struct.calcsize('=Bi')):
        value, length = struct.unpack_from('=Bi', data, offset)
        assert length > 0
        for _ in range(length):
            mask[index] = value
            index += 1
    assert index == mask.size
    return mask.reshape(rows, columns)


def test_classes_are_those_of_the_fusion_node():
    assert list(CLASSES) == FILTER_TARGETS


def test_bytes_of_a_small_mask():
    labels = np.array([[7, 7, 9], [9, 9, 0]], np.uint8)
    assert encode(labels, IDENTITY) == bytes([7, 2, 0, 0, 0, 9, 3, 0, 0, 0, 0, 1, 0, 0, 0])


def test_a_run_may_be_longer_than_a_byte_or_two():
    assert encode(np.full((1080, 1920), 9, np.uint8), IDENTITY) == b'\x09' + struct.pack(
        '<i', 1080 * 1920)


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
                     elements=st.sampled_from([0, 1, 2, 15, 255])))
def test_masks_are_read_back_and_runs_are_as_long_as_can_be(labels):
    data = encode(labels, IDENTITY)
    np.testing.assert_array_equal(decode(data, *labels.shape), labels)
    assert all(first != second for first, second in zip(data[::5], data[5::5]))


def test_a_view_that_is_not_contiguous():
    labels = np.arange(48, dtype=np.uint8).reshape(6, 8)[::2, ::3]
    np.testing.assert_array_equal(decode(encode(labels, IDENTITY), 3, 3), labels)


@pytest.mark.parametrize('name, expected', [
    ('UNKNOWN', 0), ('building', 1), ('Traffic Light', 4), ('traffic-sign', 5), ('VEHICLE', 7),
    ('road paint', 11), ('sky', 15), ('car', 0), ('pavement', 0), ('traffic', 0),
    ('traffic lights', 0)])
def test_classes_go_by_their_names(name, expected):
    assert class_ids(['road', name])[1] == (9 if name == 'road' else expected)


def test_the_order_of_the_vocabulary_does_not_matter():
    labels = np.array([[0, 1, 2, 3, 255]], np.uint8)
    names = ['sky', 'road', 'elephant', 'person']
    assert decode(encode(labels, class_ids(names)), 1, 5).tolist() == [[15, 9, 0, 6, 0]]
    turned = class_ids(names[::-1])
    assert decode(encode(labels[:, [3, 2, 1, 0, 4]], turned), 1, 5).tolist() == [[15, 9, 0, 6, 0]]


def test_what_is_one_class_to_autoware_is_one_run():
    labels = np.array([[0, 1, 255, 0]], np.uint8)
    assert encode(labels, class_ids(['elephant', 'zebra'])) == b'\x00' + struct.pack('<i', 4)


def test_the_preset_has_the_ids_of_autoware():
    names = Vocabulary.parse('@autoware').names
    assert names == CLASSES
    assert class_ids(names)[:16].tolist() == list(range(16))
    assert set(class_ids(names)[16:]) == {0}


def test_the_largest_vocabulary_has_an_id_for_every_label():
    ids = class_ids([f'word {i}' for i in range(254)] + ['sky'])
    assert (ids.dtype, ids.shape, ids[254], ids[255]) == (np.uint8, (256,), 15, 0)


@pytest.mark.parametrize('labels', [
    np.zeros((0, 4), np.uint8), np.zeros((4, 0), np.uint8), np.zeros(4, np.uint8),
    np.zeros((2, 2, 1), np.uint8), np.zeros((2, 2), np.int64)])
def test_labels_of_another_kind_are_refused(labels):
    with pytest.raises(ValueError, match=r'uint8 of shape \(height, width\)'):
        encode(labels, IDENTITY)


def test_message_is_as_the_detector_of_autoware_makes_it():
    header = Header(frame_id='camera_optical')
    header.stamp.sec, header.stamp.nanosec = 12, 34
    labels = np.array([[1, 1, 1, 0], [0, 0, 0, 255]], np.uint8)
    message = mask_message(labels, class_ids(['sky', 'road']), header)
    assert isinstance(message, Image)
    assert message.header == header
    assert (message.height, message.width, message.encoding) == (2, 4, 'mono8')
    assert (message.step, message.is_bigendian) == (4, 0)
    assert decode(message.data, message.height, message.width).tolist() == [
        [9, 9, 9, 15], [15, 15, 15, 0]]
