"""What the node publishes: images for every frame, and the legend that says what they mean."""

import base64
from collections import Counter
from collections.abc import Mapping
import json
from typing import Any

from builtin_interfaces.msg import Time
from csa_ros import draw
from csa_ros.ros import autoware
from csa_ros.ros import compressed
from csa_ros.ros.images import to_message
from csa_ros.ros.snapshot import Snapshot
from csa_ros.ros.timeline import to_time
from csa_ros.segmenter import Result
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.examples import Look
import cv2
import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy
from rclpy.qos import HistoryPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header
from std_msgs.msg import String
try:
    from vision_msgs.msg import LabelInfo
    from vision_msgs.msg import VisionClass
except ImportError:
    LabelInfo = None


# Of a JPEG for people to look at: about a tenth of the picture's size.
OVERLAY_QUALITY = 80
# Of each class, and bytes of all of them as JPEG: some dozens, which a radio link carries.
MOST_THUMBNAILS = 8
THUMBNAIL_BYTES = 2**18


def _qos(durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability)


class Outputs:
    """Publishers that come and go together."""

    def __init__(self, node: LifecycleNode, durability: DurabilityPolicy) -> None:
        self._node = node
        self._durability = durability
        self._all: list[Any] = []

    def _create(self, message_type: type, topic: str) -> Any:
        publisher: Any = self._node.create_lifecycle_publisher(
            message_type, topic, _qos(self._durability),
            qos_overriding_options=QoSOverridingOptions.with_default_policies())
        self._all.append(publisher)
        return publisher

    def _create_compressed(self, topic: str) -> Any:
        # Beside the images wherever these are remapped to, as image_transport has it.
        return self._create(
            CompressedImage, self._node.resolve_topic_name(topic) + '/compressed')

    def wanted(self) -> bool:
        """Return whether anybody listens."""
        return any(map(heard, self._all))

    def destroy(self) -> None:
        """Take the topics off the graph."""
        for publisher in self._all:
            self._node.destroy_lifecycle_publisher(publisher)
        self._all = []
        del self._node


class FrameOutputs(Outputs):
    """
    What is published for every frame of one camera, under `prefix`.

    `segments` tells that the model has segments, which are published too.
    """

    def __init__(self, node: LifecycleNode, prefix: str = '~/', segments: bool = False) -> None:
        super().__init__(node, DurabilityPolicy.VOLATILE)
        self._labels = self._create(Image, f'{prefix}labels')
        self._compressed_labels = self._create_compressed(f'{prefix}labels')
        self._confidence = self._create(Image, f'{prefix}confidence')
        self._mask = self._create(Image, f'{prefix}mask')
        self._autoware_mask = self._create(Image, f'{prefix}autoware_mask')
        self._overlay = self._create(Image, f'{prefix}overlay')
        self._compressed_overlay = self._create_compressed(f'{prefix}overlay')
        self._points = self._create(PointCloud2, f'{prefix}points')
        self._segments = self._create(Image, f'{prefix}segments') if segments else None

    def overlay_wanted(self) -> bool:
        """Return whether anybody listens to the overlay."""
        return heard(self._overlay) or heard(self._compressed_overlay)

    def points_wanted(self) -> bool:
        """Return whether anybody listens to the points."""
        return heard(self._points)

    def segments_wanted(self) -> bool:
        """Return whether anybody listens to the segments."""
        return heard(self._segments)

    def publish(self, header: Header, result: Result, snapshot: Snapshot) -> None:
        """
        Publish a frame under the header of its image, and what else the result has of it.

        The key is drawn on the overlay. Points need more: see `publish_points`.
        """
        self._labels.publish(to_message(result.labels, 'mono8', header))
        if heard(self._compressed_labels):
            self._compressed_labels.publish(compressed.labels_to_message(result.labels, header))
        if heard(self._confidence):
            self._confidence.publish(to_message(result.confidence, 'mono8', header))
        if heard(self._mask):
            mask = cv2.LUT(result.labels, snapshot.mask_table)
            self._mask.publish(to_message(mask, 'mono8', header))
        if heard(self._autoware_mask):
            self._autoware_mask.publish(
                autoware.mask_message(result.labels, snapshot.autoware_ids, header))
        if self._segments and result.segments is not None:
            self._segments.publish(to_message(result.segments, 'mono8', header))
        if result.overlay is not None:
            self._publish_overlay(header, result.overlay, result.labels, snapshot)

    def publish_points(self, points: PointCloud2) -> None:
        """Publish the points of a frame."""
        self._points.publish(points)

    def _publish_overlay(self, header: Header, overlay: np.ndarray, labels: np.ndarray,
                         snapshot: Snapshot) -> None:
        if snapshot.overlay_legend:
            draw.draw_key(
                overlay, snapshot.vocabulary.names, snapshot.vocabulary.colors, labels,
                unknown=snapshot.settings.unknown_threshold > 0)
        if heard(self._overlay):
            self._overlay.publish(to_message(overlay, 'rgb8', header))
        if heard(self._compressed_overlay):
            self._compressed_overlay.publish(
                compressed.to_message(overlay, header, OVERLAY_QUALITY))


class LegendOutput(Outputs):
    """
    Says which words the masks mean: JSON on `~/legend`, and LabelInfo if there is vision_msgs.

    `csa_ros.ros.timeline.Timeline` tells which stamps it takes.
    """

    def __init__(self, node: LifecycleNode) -> None:
        super().__init__(node, DurabilityPolicy.TRANSIENT_LOCAL)
        self._json = self._create(String, '~/legend')
        self._info = self._create(LabelInfo, '~/label_info') if LabelInfo else None

    def publish(self, snapshot: Snapshot, model: str, stamp: int) -> None:
        """Publish what masks mean from a stamp on, in nanoseconds; `model` is its name."""
        time = to_time(stamp)
        legend = {**snapshot.vocabulary.legend(snapshot.version, model, snapshot.taught),
                  'stamp': {'sec': time.sec, 'nanosec': time.nanosec}}
        self._json.publish(String(data=json.dumps(legend, ensure_ascii=False)))
        if self._info:
            self._info.publish(LabelInfo(
                header=Header(stamp=time),
                class_map=[VisionClass(class_id=item['id'], class_name=item['name'])
                           for item in legend['classes']],
                threshold=snapshot.settings.unknown_threshold))


class ExamplesOutput(Outputs):
    """Says what was taught by showing: JSON on `~/examples`, pictures of it below that."""

    def __init__(self, node: LifecycleNode) -> None:
        super().__init__(node, DurabilityPolicy.TRANSIENT_LOCAL)
        self._json = self._create(String, '~/examples')
        self._thumbnails = self._create(String, '~/examples/thumbnails')

    def publish(self, snapshot: Snapshot, file: str, frozen: Mapping[str, Time]) -> None:
        """
        Publish what is known.

        `file` is where it is kept, '' for nowhere; `frozen` are the stamps of the images that are
        held for who teaches, by their cameras.
        """
        self._json.publish(String(data=json.dumps({
            **_known(snapshot), 'file': file, 'frozen': {
                camera: {'sec': stamp.sec, 'nanosec': stamp.nanosec}
                for camera, stamp in frozen.items()}}, ensure_ascii=False)))

    def publish_thumbnails(self, examples: Examples) -> None:
        """
        Publish how the newest examples of each class look.

        Of each class there are at most MOST_THUMBNAILS, and of all together THUMBNAIL_BYTES: the
        older ones of all classes are left out first.
        """
        self._thumbnails.publish(String(data=json.dumps(
            {'classes': _thumbnails(examples)}, ensure_ascii=False)))


def _thumbnails(examples: Examples) -> list[dict[str, Any]]:
    """Return the newest examples of each class with their thumbnails, in the order of showing."""
    rank: Counter[str] = Counter()
    newest = []
    for number in reversed(range(len(examples))):
        if examples[number].look.thumbnail:
            name = examples[number].name
            newest.append((rank[name], number))
            rank[name] += 1
    chosen, left = [], THUMBNAIL_BYTES
    for place, number in sorted(newest, key=lambda each: (each[0], -each[1])):
        size = len(examples[number].look.thumbnail)
        if place == MOST_THUMBNAILS or size > left:
            break
        chosen.append(number)
        left -= size
    shown: dict[str, list[dict[str, Any]]] = {name: [] for name in examples.counts}
    for number in sorted(chosen):
        look = examples[number].look
        shown[examples[number].name].append({
            **_origin(look), 'jpeg': base64.b64encode(look.thumbnail).decode()})
    return [{'name': name, 'thumbnails': each} for name, each in shown.items()]


def _origin(look: Look) -> dict[str, Any]:
    """Return in which picture something was shown."""
    time = to_time(look.stamp)
    return {'camera': look.camera, 'stamp': {'sec': time.sec, 'nanosec': time.nanosec}}


def _known(snapshot: Snapshot) -> dict[str, Any]:
    shown: dict[str, list[dict[str, Any]]] = {name: [] for name in snapshot.examples.counts}
    for example in snapshot.examples:
        shown[example.name].append(_origin(example.look))
    classes = []
    for name, examples in shown.items():
        taught = snapshot.words.taught.get(name)
        classes.append({
            'name': name, 'count': len(examples), 'in_vocabulary': taught is not None,
            **({'alpha': taught.strength.alpha, 'beta': taught.strength.beta,
                'word_iou': taught.word_iou, 'iou': taught.iou} if taught else {}),
            'examples': examples})
    return {'version': snapshot.version, 'tuned': snapshot.tuned,
            'forgotten': snapshot.examples.forgotten, 'classes': classes}


def heard(publisher: Any) -> bool:
    """Return whether anybody listens to what a publisher sends; to None, nobody does."""
    return publisher is not None and publisher.get_subscription_count() > 0
