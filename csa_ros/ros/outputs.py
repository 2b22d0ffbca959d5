"""What the node publishes: masks for every frame, and the legend that says what they mean."""

import json
from typing import Any

from builtin_interfaces.msg import Time
from csa_ros import draw
from csa_ros.ros.images import to_message
from csa_ros.segmenter import Result
from csa_ros.vocabulary import Vocabulary
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy
from rclpy.qos import HistoryPolicy
from rclpy.qos import QoSProfile
from rclpy.qos import ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_msgs.msg import String
try:
    from vision_msgs.msg import LabelInfo
    from vision_msgs.msg import VisionClass
except ImportError:
    LabelInfo = None

_SECOND = 10**9
_LAST_TIME = (2**31 - 1) * _SECOND


def _qos(durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability)


class _Outputs:
    """Publishers that come and go together."""

    def __init__(self, node: LifecycleNode, durability: DurabilityPolicy) -> None:
        self._node = node
        self._durability = durability
        self._all = []

    def _create(self, message_type: type, topic: str) -> Any:
        publisher = self._node.create_lifecycle_publisher(
            message_type, topic, _qos(self._durability),
            qos_overriding_options=QoSOverridingOptions.with_default_policies())
        self._all.append(publisher)
        return publisher

    def destroy(self) -> None:
        """Take the topics off the graph."""
        for publisher in self._all:
            self._node.destroy_lifecycle_publisher(publisher)
        self._all = []


class MaskOutputs(_Outputs):
    """Labels, overlay and confidence of one camera, under `prefix`."""

    def __init__(self, node: LifecycleNode, prefix: str = '~/') -> None:
        super().__init__(node, DurabilityPolicy.VOLATILE)
        self._labels = self._create(Image, f'{prefix}labels')
        self._overlay = self._create(Image, f'{prefix}overlay')
        self._confidence = self._create(Image, f'{prefix}confidence')

    def wanted(self) -> bool:
        """Return whether anybody listens."""
        return any(publisher.get_subscription_count() for publisher in self._all)

    def overlay_wanted(self) -> bool:
        """Return whether anybody listens to the overlay."""
        return self._overlay.get_subscription_count() > 0

    def publish(self, header: Header, result: Result, vocabulary: Vocabulary,
                overlay_legend: bool) -> None:
        """
        Publish a frame under the header of its image, and its overlay if the result has one.

        The key is drawn on that overlay.
        """
        self._labels.publish(to_message(result.labels, 'mono8', header))
        if self._confidence.get_subscription_count():
            self._confidence.publish(to_message(result.confidence, 'mono8', header))
        if result.overlay is not None:
            if overlay_legend:
                draw.draw_key(
                    result.overlay, vocabulary.names, vocabulary.colors, result.labels)
            self._overlay.publish(to_message(result.overlay, 'rgb8', header))


class LegendOutput(_Outputs):
    """
    Says which words the masks mean: JSON on `~/legend`, and LabelInfo if there is vision_msgs.

    Image headers have no room for a version, so that the legend carries a stamp: it holds for
    every mask that is published after it with a stamp that is not older, until the next legend.
    `announce` takes the instant after the stamp of the last mask, and `cover` says it again with
    an earlier stamp before a mask that would fall short of it. What follows:

    - A legend is always out before the first mask that it holds for.
    - While the stamps of the images increase, a mask's legend is the one with the latest stamp
      that is not after the mask's: a recording can be read without knowing the order of arrival.
    - When stamps repeat or go back (a bag that loops, a clock that is set), the first statement
      still holds, and with it the order of arrival; stamps alone are then ambiguous, as images of
      the same stamp may have been labelled with different words.

    The clock of this machine plays no part. Use from one thread at a time. `after_last_mask` is
    that instant in nanoseconds, for the next LegendOutput of the node to go on from.
    """

    def __init__(self, node: LifecycleNode, after_last_mask: int = 0) -> None:
        super().__init__(node, DurabilityPolicy.TRANSIENT_LOCAL)
        self._json = self._create(String, '~/legend')
        self._info = self._create(LabelInfo, '~/label_info') if LabelInfo else None
        self._legend = {}
        self._threshold = 0.0
        self._stamp = 0
        self.after_last_mask = after_last_mask

    def announce(self, legend: dict, threshold: float) -> None:
        """Publish what masks mean from now on: `Vocabulary.legend` and the unknown_threshold."""
        self._legend = legend
        self._threshold = threshold
        self._publish(self.after_last_mask)

    def cover(self, stamp: Time) -> None:
        """Make the legend hold for a mask of this stamp, which is published next."""
        nanoseconds = min(stamp.sec * _SECOND + stamp.nanosec, _LAST_TIME - 1)
        if nanoseconds < self._stamp:
            self._publish(nanoseconds)
        self.after_last_mask = nanoseconds + 1

    def _publish(self, nanoseconds: int) -> None:
        self._stamp = nanoseconds
        sec, nanosec = divmod(nanoseconds, _SECOND)
        legend = {**self._legend, 'stamp': {'sec': sec, 'nanosec': nanosec}}
        self._json.publish(String(data=json.dumps(legend, ensure_ascii=False)))
        if self._info:
            self._info.publish(LabelInfo(
                header=Header(stamp=Time(sec=sec, nanosec=nanosec)),
                class_map=[VisionClass(class_id=item['id'], class_name=item['name'])
                           for item in self._legend['classes']],
                threshold=self._threshold))
