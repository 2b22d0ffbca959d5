"""Clouds against a loop over pixels, read back from the definition of PointCloud2."""

import array
import struct

from csa_ros.ros.depth import to_metres
from csa_ros.ros.images import ImageError
from csa_ros.ros.points import doubt_frames
from csa_ros.ros.points import Intrinsics
from csa_ros.ros.points import to_cloud
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import Image
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

NAN = float('nan')
HEIGHT, WIDTH = 6, 8
FX, FY, CX, CY = 10.0, 20.0, 3.25, 2.75
CAMERA = Intrinsics(FX, FY, CX, CY, HEIGHT, WIDTH)

RANDOM = np.random.default_rng(0)
RGB = RANDOM.integers(256, size=(HEIGHT, WIDTH, 3), dtype=np.uint8)
LABELS = RANDOM.integers(256, size=(HEIGHT, WIDTH), dtype=np.uint8)
LABELS[0, :2] = 0, 255
CONFIDENCE = RANDOM.integers(256, size=(HEIGHT, WIDTH), dtype=np.uint8)
CONFIDENCE[0, :2] = 0, 255
DEPTH = RANDOM.uniform(0.3, 30, size=(HEIGHT, WIDTH)).astype(np.float32)
HOLES = DEPTH.copy()
HOLES[RANDOM.random((HEIGHT, WIDTH)) < 0.4] = NAN

# https://docs.ros2.org/latest/api/sensor_msgs/msg/PointField.html as struct has them.
CODES = {PointField.INT8: 'b', PointField.UINT8: 'B', PointField.INT16: 'h',
         PointField.UINT16: 'H', PointField.INT32: 'i', PointField.UINT32: 'I',
         PointField.FLOAT32: 'f', PointField.FLOAT64: 'd'}


def header():
    stamped = Header(frame_id='camera_optical')
    stamped.stamp.sec, stamped.stamp.nanosec = 12, 34
    return stamped


def cloud(depth, organized, rgb=RGB, labels=LABELS, confidence=CONFIDENCE, camera=CAMERA):
    return to_cloud(header(), depth, camera, rgb, labels, confidence, organized)


def read(msg):
    """Return the rows of points of a PointCloud2 as dictionaries, by the message's definition."""
    assert len(msg.data) == msg.row_step * msg.height
    order = '>' if msg.is_bigendian else '<'
    data = bytes(msg.data)
    return [[{field.name: struct.unpack_from(
                order + CODES[field.datatype], data,
                row * msg.row_step + column * msg.point_step + field.offset)[0]
              for field in msg.fields}
             for column in range(msg.width)] for row in range(msg.height)]


def expected(depth, row, column, rgb=RGB, labels=LABELS, confidence=CONFIDENCE):
    """Return the point of a pixel, written out for one pixel."""
    z = float(depth[row, column])
    red, green, blue = (int(value) for value in rgb[row, column])
    return {
        'x': (column - CX) * z / FX,
        'y': (row - CY) * z / FY,
        'z': z,
        'rgb': struct.unpack('<f', struct.pack('<I', red << 16 | green << 8 | blue))[0],
        'label': int(labels[row, column]),
        'confidence': int(confidence[row, column]) / 255,
    }


def assert_equal(point, truth):
    assert list(point) == list(truth)
    assert point == pytest.approx(truth, rel=1e-6, abs=1e-6, nan_ok=True)
    assert struct.pack('<f', point['rgb']) == struct.pack('<f', truth['rgb'])


@pytest.mark.parametrize('depth', [DEPTH, HOLES], ids=['full', 'holes'])
def test_organized(depth):
    msg = cloud(depth, organized=True)
    assert msg.header == header()
    assert (msg.height, msg.width) == (HEIGHT, WIDTH)
    assert msg.is_dense == (depth is DEPTH)
    for row, points in enumerate(read(msg)):
        for column, point in enumerate(points):
            assert_equal(point, expected(depth, row, column))


@pytest.mark.parametrize('depth', [DEPTH, HOLES], ids=['full', 'holes'])
def test_dense(depth):
    msg = cloud(depth, organized=False)
    assert msg.header == header()
    assert msg.height == 1
    assert msg.is_dense
    truth = [expected(depth, row, column) for row in range(HEIGHT) for column in range(WIDTH)
             if not np.isnan(depth[row, column])]
    points, = read(msg)
    assert len(points) == msg.width == len(truth)
    for point, true in zip(points, truth):
        assert_equal(point, true)


@pytest.mark.parametrize('organized', [False, True])
def test_tall_images(organized):
    """Longer than what is computed at a time, and no multiple of it."""
    depth = RANDOM.uniform(0.3, 30, size=(201, 2)).astype(np.float32)
    depth[RANDOM.random(depth.shape) < 0.2] = NAN
    depth[150:] = NAN
    pictures = [RANDOM.integers(256, size=(*depth.shape, *channels), dtype=np.uint8)
                for channels in ((3,), (), ())]
    msg = cloud(depth, organized, *pictures, Intrinsics(FX, FY, CX, CY, *depth.shape))
    assert (msg.height, msg.width) == (
        depth.shape if organized else (1, np.isfinite(depth).sum()))
    truth = [expected(depth, row, column, *pictures) for row in range(201) for column in range(2)
             if organized or not np.isnan(depth[row, column])]
    for point, true in zip(sum(read(msg), []), truth, strict=True):
        assert_equal(point, true)


def test_layout():
    msg = cloud(HOLES, organized=False)
    assert [(field.name, field.datatype, field.count) for field in msg.fields] == [
        ('x', PointField.FLOAT32, 1), ('y', PointField.FLOAT32, 1), ('z', PointField.FLOAT32, 1),
        ('rgb', PointField.FLOAT32, 1), ('label', PointField.UINT32, 1),
        ('confidence', PointField.FLOAT32, 1)]
    assert isinstance(msg.data, array.array)
    assert msg.data.typecode == 'B'


@pytest.mark.parametrize('organized', [False, True])
def test_no_depth_at_all(organized):
    msg = cloud(np.full((HEIGHT, WIDTH), NAN, np.float32), organized)
    if organized:
        assert not msg.is_dense
        assert all(np.isnan([point['x'], point['y'], point['z']]).all()
                   for row in read(msg) for point in row)
    else:
        assert (msg.height, msg.width, len(msg.data), msg.is_dense) == (1, 0, 0, True)


@pytest.mark.parametrize('encoding, samples, columns', [
    ('16UC1', np.array([[0, 1500, 0, 250]], '<u2'), [1, 3]),
    ('32FC1', np.array([[NAN, 1.5, np.inf, 0.25]], '<f4'), [1, 3]),
    ('32FC1', np.array([[0, 1.5, -np.inf, -1]], '<f4'), [1]),
])
def test_from_depth_message(encoding, samples, columns):
    msg = Image(height=1, width=4, encoding=encoding, step=samples.nbytes,
                data=array.array('B', samples.tobytes()))
    view = slice(0, 1), slice(0, 4)
    dense = cloud(to_metres(msg), False, RGB[view], LABELS[view], CONFIDENCE[view],
                  Intrinsics(FX, FY, CX, CY, 1, 4))
    points, = read(dense)
    assert [point['label'] for point in points] == LABELS[0, columns].tolist()
    assert [point['z'] for point in points] == [{1: 1.5, 3: 0.25}[column] for column in columns]
    assert [point['x'] for point in points] == pytest.approx(
        [(column - CX) * {1: 1.5, 3: 0.25}[column] / FX for column in columns])


@pytest.mark.parametrize('scale', [(1, 3), (2, 1), (3, 1), (2, 3)])
def test_labels_of_another_size_are_taken_at_the_pixel_centres(scale):
    """Of `scale` (a, b), the labels have a / b times the pixels a side of the depth image."""
    height, width = (side * scale[0] // scale[1] for side in (HEIGHT, 3 * WIDTH))
    depth = np.ones((HEIGHT, 3 * WIDTH), np.float32)
    camera = Intrinsics(FX, FY, CX, CY, *depth.shape)
    rgb = RANDOM.integers(256, size=(height, width, 3), dtype=np.uint8)
    labels = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    msg = cloud(depth, True, rgb, labels, labels[::-1], camera)
    for row, points in enumerate(read(msg)):
        for column, point in enumerate(points):
            # A centre on the border of two pixels belongs to either.
            y, x = ((at + 0.5) * scale[0] / scale[1] for at in (row, column))
            near = {(int(y - below), int(x - left)) for below in (0, 1e-6) for left in (0, 1e-6)}
            found = [at for at in near if labels[at] == point['label']]
            assert len(found) == 1
            assert_equal(point, dict(expected(np.ones_like(depth), row, column, *(
                np.full((*depth.shape, *np.shape(value)), value) for value in (
                    rgb[found[0]], labels[found[0]], labels[::-1][found[0]])))))


@pytest.mark.parametrize('fields, said', [
    ({'camera': Intrinsics(FX, FY, CX, CY, WIDTH, HEIGHT)}, ['6 x 8', '8 x 6', 'intrinsics']),
    ({'labels': LABELS.T}, ['labels 6 x 8', '8 x 6', 'register the depth']),
    ({'rgb': np.zeros((60, 60, 3), np.uint8)}, ['image 60 x 60', '8 x 6']),
    ({'confidence': CONFIDENCE[:0]}, ['confidence 8 x 0', '8 x 6']),
])
def test_sizes_that_do_not_fit_are_refused(fields, said):
    with pytest.raises(ImageError) as caught:
        cloud(DEPTH, True, **fields)
    for words in said:
        assert words in str(caught.value)


def info(k=(500, 0, 319.5, 0, 510, 239.5, 0, 0, 1), p=(0,) * 12, width=640, height=480, **fields):
    msg = CameraInfo(width=width, height=height, k=np.array(k, float), p=np.array(p, float))
    for name, value in fields.items():
        holder, _, attribute = name.rpartition('__')
        setattr(getattr(msg, holder) if holder else msg, attribute, value)
    return msg


P = (400, 0, 310.0, -40.0, 0, 410, 230.0, 0, 0, 0, 1, 0)


@pytest.mark.parametrize('msg, size, truth', [
    (info(), (480, 640), (500, 510, 319.5, 239.5)),
    # The rectified camera goes before the raw one; its baseline is left out.
    (info(p=P), (480, 640), (400, 410, 310, 230)),
    # The centre of an image is at half its sides less half a pixel, at every scale.
    (info(), (240, 320), (250, 255, 159.5, 119.5)),
    (info(), (960, 1280), (1000, 1020, 639.5, 479.5)),
    (info(), (120, 160), (125, 127.5, 79.5, 59.5)),
    (info(width=1920, height=1080), (480, 853), (222.135417, 226.666667, 141.666667, 106.166667)),
    # image_geometry: the region's offset off, then divided by the binning.
    (info(binning_x=1, binning_y=1), (480, 640), (500, 510, 319.5, 239.5)),
    (info(p=P, binning_x=2, binning_y=2), (240, 320), (200, 205, 155, 115)),
    (info(p=P, binning_x=2), (480, 320), (200, 410, 155, 230)),
    (info(p=P, roi__x_offset=100, roi__y_offset=50, roi__width=200, roi__height=100),
     (100, 200), (400, 410, 210, 180)),
    (info(p=P, binning_x=2, binning_y=2, roi__x_offset=100, roi__y_offset=50, roi__width=200,
          roi__height=100), (50, 100), (200, 205, 105, 90)),
    (info(roi__width=640, roi__height=480), (480, 640), (500, 510, 319.5, 239.5)),
])
def test_intrinsics(msg, size, truth):
    camera = Intrinsics.of(msg, size)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx(truth)
    assert (camera.height, camera.width) == size


def test_a_point_projects_to_its_pixel():
    """P of the message projects what to_cloud makes of a pixel back to it."""
    camera = Intrinsics.of(info(p=P), (480, 640))
    depth = np.full((480, 640), NAN, np.float32)
    depth[33, 612] = 7.5
    black = np.zeros((480, 640, 3), np.uint8)
    point, = read(cloud(depth, False, black, black[..., 0], black[..., 0], camera))[0]
    u, v, w = np.reshape(P, (3, 4))[:, :3] @ [point['x'], point['y'], point['z']]
    assert (u / w, v / w) == pytest.approx((612, 33))


@pytest.mark.parametrize('msg, size, said', [
    (CameraInfo(), (480, 640), ['no calibration', 'K and P', 'calibrate']),
    (info(k=(0,) * 9), (480, 640), ['no calibration', 'K and P', 'calibrate']),
    (info(width=0, height=0), (480, 640), ['640 x 480', '0 x 0', 'camera_info']),
    (info(), (360, 640), ['640 x 360', '640 x 480', 'registered']),
    (info(width=848), (360, 640), ['640 x 360', '848 x 480', 'registered']),
    (info(), (480, 0), ['0 x 480', '640 x 480']),
    (info(roi__x_offset=100), (480, 640), ['640 x 480', '0 x 0']),
    (info(binning_x=2**32 - 1), (480, 640), ['640 x 480', '0 x 480']),
    (info(k=(-500, 0, 319.5, 0, 500, 239.5, 0, 0, 1)), (480, 640), ['-500', 'in K', 'positive']),
    (info(k=(500, 0, 319.5, 0, 0, 239.5, 0, 0, 1)), (480, 640), ['fy 0.0', 'in K', 'positive']),
    (info(k=(500, 0, NAN, 0, 500, 239.5, 0, 0, 1)), (480, 640), ['cx nan', 'in K', 'finite']),
    (info(p=(NAN, *P[1:])), (480, 640), ['fx nan', 'in P', 'finite']),
    (info(p=(400, 0, float('inf'), *P[3:])), (480, 640), ['cx inf', 'in P', 'finite']),
])
def test_a_camera_info_that_cannot_be_used_is_refused(msg, size, said):
    with pytest.raises(ImageError) as caught:
        Intrinsics.of(msg, size)
    for words in said:
        assert words in str(caught.value)


@pytest.mark.parametrize('depth, image, doubted', [
    ('depth_optical', 'color_optical', True), ('a', 'a', False), ('/a', 'a', False),
    ('', 'a', False), ('a', '', False), ('', '', False)])
def test_depth_of_another_frame_is_doubted(depth, image, doubted):
    doubt = doubt_frames(Header(frame_id=depth), Header(frame_id=image))
    assert bool(doubt) == doubted
    assert not doubted or (depth in doubt and image in doubt and 'remap depth' in doubt)
