"""What the cameras saw last: what is taught, and what detectors speak of some time later."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from csa_ros.ros.camera import Camera
from csa_ros.ros.timeline import nanoseconds
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
from std_msgs.msg import Header

# Images of each camera for as long as somebody may speak of them: a second at 30 Hz.
KEPT = 30


@dataclass(frozen=True)
class Seen:
    """An image of a camera, and when it arrived by the steady clock, in seconds."""

    camera: Camera
    image: Image | CompressedImage
    arrival: float


class Sightings:
    """
    The newest image of each camera, and those before it while `keep` is told to.

    `frozen` are those that are taught instead of the newest, by camera, while there are any.
    """

    def __init__(self) -> None:
        self.frozen: dict[str, Seen] = {}
        self._images: dict[str, deque[Seen]] = {}
        self._length = 1

    @property
    def newest(self) -> dict[str, Seen]:
        """Return the newest image of each camera that has sent one."""
        return {camera: images[-1] for camera, images in self._images.items()}

    def keep(self, before: bool) -> None:
        """Keep images before the newest from now on, or no longer."""
        length = KEPT if before else 1
        if length != self._length:
            self._length = length
            self._images = {camera: deque(images, length)
                            for camera, images in self._images.items()}

    def add(self, seen: Seen) -> None:
        """Take the newest image of a camera."""
        self._images.setdefault(seen.camera.name, deque(maxlen=self._length)).append(seen)

    def at(self, header: Header) -> Seen | None:
        """
        Return the image that has the stamp of a header, None if none is kept.

        Of those of several cameras it is that in the header's frame, or the newest.
        """
        stamp = nanoseconds(header.stamp)
        there = sorted(
            (seen for seen in self._all() if nanoseconds(seen.image.header.stamp) == stamp),
            key=lambda seen: (seen.image.header.frame_id == header.frame_id, seen.arrival))
        return there[-1] if there else None

    def _all(self) -> Iterator[Seen]:
        yield from self.frozen.values()
        for images in self._images.values():
            yield from images
