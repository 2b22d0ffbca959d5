"""One camera of the node: what is subscribed to, what is published, what is remembered."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
import threading

from csa_ros.finding.regions import Region
from csa_ros.model.reuse import WindowMemory
from csa_ros.parameters.cameras import CameraTopics
from csa_ros.parameters.config import Config
from csa_ros.ros import depth
from csa_ros.ros import points
from csa_ros.ros.diagnostics import Report
from csa_ros.ros.diagnostics import Statistics
from csa_ros.ros.found import FoundOutputs
from csa_ros.ros.found import Places
from csa_ros.ros.inputs import DepthInput
from csa_ros.ros.outputs import FrameOutputs
from csa_ros.ros.places import places
from csa_ros.ros.snapshot import Snapshot
from csa_ros.ros.source import ImageSource
from csa_ros.segmenter import Result
import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header


@dataclass(frozen=True, eq=False)
class _Labelled:
    """A frame whose depth is yet to come."""

    header: Header
    rgb: np.ndarray
    result: Result
    found: list[Region]


class Camera(ImageSource):
    """
    One of the cameras in `config`; what it publishes is below its name, if it has one.

    `listen`, `stop_listening`, `follow_publishers`, `follow_points`, `explain_shortfall`, `doubts`
    and `destroy` are for the executor's thread; all that has to do with frames (`to_rgb`,
    `convert`, `publish`, `change`, `forget`, `memory`) is for the one that segments, to which
    `call` hands functions. `on_depth_error` is told in that thread why there are no points.
    `segments` tells that the model has segments.
    """

    def __init__(self, node: LifecycleNode, topics: CameraTopics, config: Config,
                 statistics: Statistics, call: Callable[[Callable[[], None]], None],
                 on_depth_error: Callable[['Camera', Exception], None],
                 segments: bool = False) -> None:
        super().__init__(node, topics.name, topics.image, config.transport, config.sensor_bits,
                         statistics)
        self.memory = WindowMemory()
        # Height and width of the last frame.
        self.frame_size: tuple[int, int] | None = None
        self._topics = topics
        self._call = call
        self._on_depth_error = on_depth_error
        prefix = f'~/{self.name}/' if self.name else '~/'
        self.outputs = FrameOutputs(node, prefix, segments)
        self.found = FoundOutputs(node, prefix)
        self._depth_input: DepthInput | None = None
        self._info: CameraInfo | None = None
        self._points_layout = config.points_layout
        self._is_seeking = bool(config.find)
        self._slop = config.depth_slop
        # Depth comes in the executor's thread, frames in the other.
        self._matching = threading.Lock()
        self._matcher = depth.DepthMatcher(self._slop)
        self._depth_doubt = ''

    @property
    def depth_input(self) -> DepthInput | None:
        """Return the subscriptions that points need, while somebody listens to what has them."""
        return self._depth_input

    def wanted(self) -> bool:
        """Return whether anybody listens to what comes of its frames."""
        return self.outputs.wanted() or self.found.wanted()

    def stop_listening(self) -> None:
        """Subscribe to nothing any more."""
        super().stop_listening()
        if self._depth_input:
            self._depth_input.destroy()
        self._depth_input = None

    def follow_publishers(self) -> None:
        """Subscribe as the publishers offer; to be called every second."""
        super().follow_publishers()
        if self._depth_input:
            self._depth_input.follow_publishers()

    def follow_points(self) -> None:
        """Subscribe to depth as long as somebody listens to what it is for."""
        # What is found is told without a distance as well, and then nobody misses depth.
        wanted = self._points_wanted() or (self._is_seeking and self.found.json_wanted())
        if wanted and not self._depth_input:
            self._depth_input = DepthInput(
                self._node, self._topics.depth, self._topics.camera_info, self._take_depth,
                self._take_info, self.statistics.lost)
        elif not wanted and self._depth_input:
            self._depth_input.destroy()
            self._depth_input = None
            self._forget_depth()

    def explain_shortfall(self, report: Report) -> str:
        """Return why there are no points; nothing if they may come, or nobody listens to them."""
        if (not self._depth_input or not self._points_wanted() or report.rates['points']
                or report.rates['bad_depth']):
            return ''
        with self._matching:
            reason = self._matcher.explain()
        if not reason and self._info is None:
            topic = self._node.resolve_topic_name(self._topics.camera_info)
            reason = f'no CameraInfo has arrived; see `ros2 topic hz {topic}`'
        missing = self._depth_input.explain_silence() or reason
        return missing and f'no points, which somebody listens to: {missing}'

    def doubts(self) -> dict[str, str]:
        """Return what may be wrong with what the camera sends, by kind."""
        return {**super().doubts(), **({'depth': self._depth_doubt} if self._depth_doubt else {})}

    def change(self, config: Config) -> None:
        """Take over the parameters of the points."""
        self._points_layout = config.points_layout
        self._is_seeking = bool(config.find)
        self.change_bits(config.sensor_bits)
        if config.depth_slop != self._slop:
            self._slop = config.depth_slop
            self._forget_depth()

    def forget(self) -> None:
        """Forget the frames that were seen."""
        super().forget()
        self.memory.clear()
        self._forget_depth()

    def to_rgb(self, image: Image | CompressedImage) -> np.ndarray:
        """
        Return an image, which is segmented next, as (H, W, 3) uint8.

        Raises `csa_ros.ros.images.ImageError`.
        """
        if self._depth_input:
            with self._matching:
                self._matcher.expect_frame(image.header.stamp)
        return self.convert(image)

    def publish(self, header: Header, rgb: np.ndarray, result: Result, snapshot: Snapshot
                ) -> None:
        """
        Publish a frame, and its points as soon as there is depth for it.

        What is found is told at once, with the distances that are known by then.
        """
        self.outputs.publish(header, result, snapshot)
        found = self.found.publish(header, result, snapshot)
        distances: Places = [None] * len(found)
        if self._depth_input:
            frame = _Labelled(header, rgb, result, found)
            with self._matching:
                match = self._matcher.add_frame(header.stamp, frame)
            known = self._publish_points(match)
            if known and match and match[1] is frame:
                distances = known
        if self.found.json_wanted():
            self.found.publish_json(header, found, distances)

    def destroy(self) -> None:
        """Take everything off the graph, and hold on to the node no longer."""
        super().destroy()
        self.outputs.destroy()
        self.found.destroy()

    def _take_info(self, info: CameraInfo) -> None:
        self._info = info

    def _take_depth(self, image: Image) -> None:
        with self._matching:
            match = self._matcher.add_depth(image)
        if match:
            self._call(partial(self._publish_late, match))

    def _forget_depth(self) -> None:
        with self._matching:
            self._matcher = depth.DepthMatcher(self._slop)
        self._depth_doubt = ''

    def _points_wanted(self) -> bool:
        return self.outputs.points_wanted() or self.found.points_wanted()

    def _publish_late(self, match: tuple[Image, _Labelled]) -> None:
        self._publish_points(match)

    def _publish_points(self, match: tuple[Image, _Labelled] | None) -> Places:
        """Publish what there is of a frame in space; return the places of what was found."""
        if match is None or self._info is None:
            return []
        image, frame = match
        self._depth_doubt = points.doubt_frames(image.header, frame.header)
        try:
            metres = depth.to_metres(image)
            intrinsics = points.Intrinsics.of(self._info, metres.shape)
            if self.outputs.points_wanted():
                self.outputs.publish_points(points.to_cloud(
                    frame.header, metres, intrinsics, frame.rgb, frame.result.labels,
                    frame.result.confidence, self._points_layout == 'organized'))
            known = places(frame.found, frame.rgb.shape[:2], metres, intrinsics)
        except ValueError as error:
            self._on_depth_error(self, error)
            return []
        if self.found.points_wanted():
            self.found.publish_points(frame.header, known)
        if self._points_wanted():
            self.statistics.pointed()
        return known
