"""A camera as images come from it: what is subscribed to, and how its images are read."""

from collections.abc import Callable

from csa_ros.ros import compressed
from csa_ros.ros import images
from csa_ros.ros.diagnostics import Report
from csa_ros.ros.diagnostics import Statistics
from csa_ros.ros.inputs import ImageInput
from csa_ros.sample_range import SampleRange
import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image

_CONVERTERS = {'raw': images, 'compressed': compressed}


class ImageSource:
    """
    A camera with a name, '' for the only one, whose images are on a topic.

    `transport` is `raw` or `compressed`, and `sensor_bits` says what 16-bit samples use, see
    `csa_ros.sample_range`. Images are read in one thread, and all else is for the executor's.
    """

    def __init__(self, node: LifecycleNode, name: str, topic: str, transport: str,
                 sensor_bits: str, statistics: Statistics) -> None:
        self.name = name
        self.statistics = statistics
        self._node = node
        self._topic = topic
        self._transport = transport
        self._samples = SampleRange(sensor_bits)
        self._image_input: ImageInput | None = None

    @property
    def image_input(self) -> ImageInput | None:
        """Return the subscription to the images, while there is one."""
        return self._image_input

    @property
    def samples(self) -> SampleRange:
        """Return what is known of the 16-bit samples of its pictures."""
        return self._samples

    def listen(self, on_image: Callable[[Image | CompressedImage], None]) -> None:
        """Subscribe to the images."""
        self._image_input = ImageInput(
            self._node, self._topic, self._transport, on_image, self.statistics.lost)

    def stop_listening(self) -> None:
        """Subscribe to nothing any more."""
        if self._image_input:
            self._image_input.destroy()
        self._image_input = None

    def follow_publishers(self) -> None:
        """Subscribe as the publishers offer; to be called every second."""
        if self._image_input:
            self._image_input.follow_publishers()

    def doubts(self) -> dict[str, str]:
        """Return what may be wrong with what the camera sends, by kind."""
        return {'samples': self._samples.complaint} if self._samples.complaint else {}

    def explain_shortfall(self, report: Report) -> str:
        """Return what is missing beside images, though somebody waits for it; '' if nothing is."""
        return ''

    def change_bits(self, sensor_bits: str) -> None:
        """Read 16-bit samples in another way, if it is one."""
        if sensor_bits != self._samples.bits:
            self._samples = SampleRange(sensor_bits)

    def forget(self) -> None:
        """Forget the images that were read."""
        self._samples = SampleRange(self._samples.bits)

    def convert(self, image: Image | CompressedImage) -> np.ndarray:
        """
        Return an image as (H, W, 3) uint8.

        Raises `csa_ros.ros.images.ImageError`.
        """
        return _CONVERTERS[self._transport].to_rgb(image, self._samples)

    def destroy(self) -> None:
        """Take everything off the graph, and hold on to the node no longer."""
        self.stop_listening()
        del self._node
