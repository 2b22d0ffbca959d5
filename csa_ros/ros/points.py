"""Labelled point clouds from depth images that are registered to the camera."""

from dataclasses import dataclass
import math
import sys

from csa_ros.ros.images import ImageError
import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import PointCloud2
from sensor_msgs.msg import PointField
from std_msgs.msg import Header

# Words of 4 bytes, one after the other. `rgb` is how PCL and RViz want colours: the bytes B, G,
# R and 0 of a float. `confidence` is a probability as a float, as maps take them that fuse classes
# (elevation_mapping_cupy) and RViz to colour by it.
_FIELDS = {
    'x': PointField.FLOAT32,
    'y': PointField.FLOAT32,
    'z': PointField.FLOAT32,
    'rgb': PointField.FLOAT32,
    'label': PointField.UINT32,
    'confidence': PointField.FLOAT32,
}
_X, _Y, _Z, _RGB, _LABEL, _CONFIDENCE = range(len(_FIELDS))
_WORD = 4

# Rows at a time, so that points stay in the processor's cache until they are in the message.
_BAND = 64


@dataclass(frozen=True)
class Intrinsics:
    """
    A pinhole camera without distortion, for images of `height` x `width` pixels.

    Focal lengths and principal point are in pixels; the centre of the first pixel is at 0, 0.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    height: int
    width: int

    @classmethod
    def of(cls, info: CameraInfo, size: tuple[int, int]) -> 'Intrinsics':
        """
        Return those of a camera for a depth image of `size` (height, width).

        The projection matrix P counts, which is that of the rectified image, or K where the
        driver leaves P empty. Region of interest and binning are taken off as image_geometry does
        it; the rest is scaled if the depth image is smaller or larger than what is left. The
        baseline in P is left out, as depth_image_proc does: depth is measured from this camera.

        Raises ImageError if the camera is not calibrated or of another aspect.
        """
        fx, fy, cx, cy = _projection(info)
        height, width = size
        binning_x, binning_y = max(info.binning_x, 1), max(info.binning_y, 1)
        roi = info.roi
        whole = not (roi.x_offset or roi.y_offset or roi.width or roi.height)
        camera_width = (info.width if whole else roi.width) // binning_x
        camera_height = (info.height if whole else roi.height) // binning_y
        _check_aspect(
            'depth image', size, 'camera_info', (camera_height, camera_width),
            'use the camera_info of the camera that the depth is registered to')
        scale_x, scale_y = width / camera_width, height / camera_height
        return cls(
            fx=fx / binning_x * scale_x,
            fy=fy / binning_y * scale_y,
            cx=((cx - roi.x_offset) / binning_x + 0.5) * scale_x - 0.5,
            cy=((cy - roi.y_offset) / binning_y + 0.5) * scale_y - 0.5,
            height=height,
            width=width)

    def rays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x / z of the pixels of a row (W,) and y / z of those of a column (H, 1)."""
        x = (np.arange(self.width) - self.cx) / self.fx
        y = (np.arange(self.height) - self.cy) / self.fy
        return x.astype(np.float32), y.astype(np.float32)[:, np.newaxis]


def doubt_frames(depth: Header, image: Header) -> str:
    """Return why points may lie beside what they show: depth that is not of the image's frame."""
    frames = [header.frame_id.lstrip('/') for header in (depth, image)]
    if not all(frames) or frames[0] == frames[1]:
        return ''
    return (f'depth images are in frame {frames[0]!r} and images in {frames[1]!r}: unless that is '
            'one place, the points lie beside what they show; remap depth to a topic that is '
            'registered to the camera, as aligned_depth_to_color of RealSense or the output of '
            'depth_image_proc::RegisterNode')


def to_cloud(header: Header, depth: np.ndarray, intrinsics: Intrinsics, rgb: np.ndarray,
             labels: np.ndarray, confidence: np.ndarray, organized: bool) -> PointCloud2:
    """
    Build the labelled point cloud of a frame.

    `depth` is (H, W) float32 in metres, NaN where nothing was measured; `intrinsics` are for its
    size. `rgb` (h, w, 3), `labels` (h, w) and `confidence` (h, w), probabilities times 255, are
    uint8, of the same view; in another size each pixel of `depth` takes the one at its centre.
    `header` is that of the image: points are in the optical frame of the camera (REP 103: x right,
    y down, z forward).

    Fields are x, y, z (float32, metres), rgb (packed into a float32), label (uint32, 255 where it
    is unknown) and confidence (float32, 0 to 1). With `organized` the cloud is (H, W) with NaN for
    x, y and z where nothing was measured; otherwise these points are left out. `is_dense` says
    that there is no NaN. Raises ImageError if the sizes contradict each other.
    """
    if depth.shape != (intrinsics.height, intrinsics.width):
        raise ImageError(
            f'the intrinsics are for {intrinsics.width} x {intrinsics.height} pixels, but the '
            f'depth image has {depth.shape[1]} x {depth.shape[0]}; make them for its size')
    for name, picture in (('image', rgb), ('labels', labels), ('confidence', confidence)):
        _check_aspect('depth image', depth.shape, name, picture.shape,
                      'register the depth to the camera that is segmented')
    x, y = intrinsics.rays()
    rgb, labels, confidence = (
        _sampled(picture, depth.shape) for picture in (rgb, labels, confidence))
    cloud = _empty_cloud(header)
    for top in range(0, len(depth), _BAND):
        band = slice(top, top + _BAND)
        points = _points(
            depth[band], x, y[band], rgb[band], labels[band], confidence[band])
        if not organized:
            # Indices are several times faster here than the mask itself.
            measured = np.flatnonzero(~np.isnan(depth[band]))
            points = points.reshape(-1, len(_FIELDS)).take(measured, axis=0)
        # Appending to the message's own array.array is one memcpy; see images.to_message.
        cloud.data.frombytes(points.view(np.uint8))
    cloud.height = len(depth) if organized else 1
    cloud.row_step = len(cloud.data) // cloud.height
    cloud.width = cloud.row_step // cloud.point_step
    cloud.is_dense = not organized or not np.isnan(depth).any()
    return cloud


def _empty_cloud(header: Header) -> PointCloud2:
    return PointCloud2(
        header=header,
        fields=[PointField(name=name, offset=_WORD * index, datatype=datatype, count=1)
                for index, (name, datatype) in enumerate(_FIELDS.items())],
        is_bigendian=sys.byteorder == 'big',
        point_step=_WORD * len(_FIELDS))


def _points(depth: np.ndarray, x: np.ndarray, y: np.ndarray, rgb: np.ndarray,
            labels: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Return the points (H, W, fields) of some rows, as float32 whatever the fields are."""
    points = np.empty((*depth.shape, len(_FIELDS)), np.float32)
    np.multiply(depth, x, out=points[..., _X])
    np.multiply(depth, y, out=points[..., _Y])
    points[..., _Z] = depth
    words = points.view(np.uint32)
    words[..., _RGB] = _packed(rgb)
    words[..., _LABEL] = labels
    np.divide(confidence, 255, out=points[..., _CONFIDENCE], dtype=np.float32)
    return points


def _projection(info: CameraInfo) -> tuple[float, float, float, float]:
    """Return fx, fy, cx, cy of the full image."""
    name, matrix, columns = ('P', info.p, 4) if info.p[0] else ('K', info.k, 3)
    fx, cx, fy, cy = (float(matrix[at]) for at in (0, 2, columns + 1, columns + 2))
    if not any(matrix):
        raise ImageError(
            'camera_info holds no calibration, K and P are all 0; calibrate the camera '
            '(camera_calibration) or let its driver load the calibration file')
    if not (fx > 0 and fy > 0 and all(map(math.isfinite, (fx, fy, cx, cy)))):
        raise ImageError(
            f'camera_info has fx {fx}, fy {fy}, cx {cx}, cy {cy} in {name}; focal lengths must be '
            'positive and all four finite: correct the calibration file')
    return fx, fy, cx, cy


def _check_aspect(what: str, size: tuple[int, int], other: str, other_size: tuple[int, int],
                  advice: str) -> None:
    """Raise ImageError unless one size is the other scaled, with sides rounded to pixels."""
    (height, width), (other_height, other_width) = size[:2], other_size[:2]
    # Let w = W s + e and h = H s + f with errors below 1: then w H - h W = e H - f W.
    difference = abs(width * other_height - height * other_width)
    fits = difference < max(height + width, other_height + other_width)
    if not fits or min(height, width, other_height, other_width) < 1:
        raise ImageError(
            f'the {what} has {width} x {height} pixels, but {other} {other_width} x '
            f'{other_height}, which is another view; {advice}')


def _sampled(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return (h, w, ...) at the pixel centres of an image of size (height, width)."""
    if picture.shape[:2] == size:
        return picture
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def _packed(rgb: np.ndarray) -> np.ndarray:
    """Return (H, W) uint32 0x00RRGGBB."""
    bgra = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA)
    return bgra.view('<u4')[..., 0] & 0xFFFFFF
