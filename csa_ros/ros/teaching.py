"""How classes are taught: services, and boxes that detectors and annotation tools send."""

from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
import time
from typing import Any

from csa_ros.parameters.config import Config
from csa_ros.ros import detections
from csa_ros.ros.pipeline import Pipeline
from csa_ros.ros.services import ExampleServices
from csa_ros.ros.services import kept
from csa_ros.ros.services import known
from csa_ros.ros.services import MAX_AGE
from csa_ros.ros.services import no_image
from csa_ros.ros.sightings import KEPT
from csa_ros.ros.sightings import Seen
from csa_ros.ros.snapshot import Snapshot
from csa_ros.teaching.errors import TeachingError
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

# Messages with boxes that wait while others are taught.
QUEUE = 10


class TeachingServices(ExampleServices[Pipeline]):
    """Offers what teaches classes on a node."""

    def __init__(self, node: LifecycleNode, pipeline: Callable[[], Pipeline | None],
                 widen: Callable[[Sequence[str]], Config],
                 join: Callable[[Sequence[str]], Config]) -> None:
        super().__init__(node, pipeline, widen, join)
        self._offer(Trigger, 'teach', lambda request: self._teach())
        self._offer(SetBool, 'freeze', lambda request: self._freeze(request.data))
        self._offer(Trigger, 'tune', lambda request: self._tune())
        self._offer(Trigger, 'forget', lambda request: self._forget())
        if detections.Detection2DArray:
            # It is awaited, which the types of rclpy do not tell.
            on_detections: Any = self._on_detections
            self._boxes = node.create_subscription(
                detections.Detection2DArray, '~/teach/detections', on_detections, QUEUE,
                callback_group=self._group)

    def follow_publishers(self) -> None:
        """Keep images that boxes may come for, while somebody publishes boxes."""
        pipeline = self._pipeline()
        if pipeline and detections.Detection2DArray:
            pipeline.sightings.keep(self._node.count_publishers(self._boxes.topic_name) > 0)

    async def _on_detections(self, message: 'detections.Detection2DArray') -> None:
        try:
            self._log.info(await self._teach_boxes(message))
        except ValueError as error:
            self._log.error(f'boxes not taught: {error}')
        except Exception as error:
            self._log.error(f'boxes not taught: {type(error).__name__}: {error}')

    async def _teach(self) -> str:
        pipeline = self._configured()
        shown = pipeline.config.shown
        if not shown.name:
            raise TeachingError('teach_name is empty: set it to the class that is shown, as in '
                                f'`ros2 param set {self._name} teach_name dock`')
        seen = self._seen(pipeline, shown.camera)
        name = known(shown.name, pipeline.config.vocabulary.names)
        # Before the model is at work: there may be no room for the name.
        self._widen([name])
        age = time.monotonic() - seen.arrival
        look = await self._waiting.until(partial(pipeline.look, seen, shown.region))
        before = pipeline.examples
        examples = before.add(name, look)
        snapshot = await self._bring(pipeline, self._join([name]), examples)
        return ', '.join(filter(None, [
            f'{name}: {_worth(snapshot, name)}',
            f'from an image {age:.1f} s old',
            'an older one made room' if examples.forgotten > before.forgotten else '',
            kept(pipeline)]))

    async def _teach_boxes(self, message: 'detections.Detection2DArray') -> str:
        """Teach what boxes show, in one step; those that cannot be taught are told."""
        pipeline = self._configured()
        examples, names, refused = pipeline.examples, Counter[str](), []
        for number, detection in enumerate(message.detections, 1):
            try:
                box = detections.read_box(detection, message.header)
                name = known(box.name or pipeline.config.shown.name,
                             [*pipeline.config.vocabulary.names, *names])
                if not name:
                    raise TeachingError('it has no class_id, and teach_name is empty: set one')
                seen = self._seen_at(pipeline, box.header)
                self._widen([*names, name])
                look = await self._waiting.until(partial(pipeline.look, seen, box.region))
            except ValueError as error:
                refused.append(f'box {number}: {error}')
            else:
                examples = examples.add(name, look)
                names[name] += 1
        if refused:
            self._log.warning(f'{len(refused)} of {len(message.detections)} boxes not taught: ' +
                              '; '.join(refused[:3]) + '; ...' * (len(refused) > 3))
        if not names:
            return 'no boxes were taught'
        snapshot = await self._bring(pipeline, self._join(list(names)), examples)
        return ', '.join(filter(None, [
            'boxes were taught', *(f'{name}: {_worth(snapshot, name)}' for name in names),
            kept(pipeline)]))

    async def _freeze(self, frozen: bool) -> str:
        pipeline = self._configured()
        sightings = pipeline.sightings
        if not frozen:
            pipeline.freeze(False)
            return 'what is taught is the newest image again'
        if not sightings.newest:
            raise TeachingError(no_image())
        pipeline.freeze(True)
        return 'what is taught are images of ' + ', '.join(
            f'{camera or "the camera"} with the stamp {seen.image.header.stamp.sec}.'
            f'{seen.image.header.stamp.nanosec:09d}'
            for camera, seen in sorted(sightings.frozen.items()))

    async def _tune(self) -> str:
        pipeline = self._configured()
        snapshot = await self._waiting.until(pipeline.tune)
        return (f'{len(snapshot.vocabulary)} classes have learned from '
                f'{sum(snapshot.taught.values())} examples of {", ".join(snapshot.taught)}, until '
                'words or examples change')

    async def _forget(self) -> str:
        return await self._forget_examples(self._configured().config.shown.name)

    def _seen(self, pipeline: Pipeline, camera: str) -> Seen:
        """Return the image that is taught."""
        names = [each.name for each in pipeline.cameras]
        if not camera and len(names) > 1:
            raise TeachingError(
                f'teach_camera is empty, and there are the cameras {", ".join(names)}: set it to '
                f'one of them, as in `ros2 param set {self._name} teach_camera {names[0]}`')
        camera = camera or names[0]
        if camera in pipeline.sightings.frozen:
            return pipeline.sightings.frozen[camera]
        seen = pipeline.sightings.newest.get(camera)
        if not seen:
            raise TeachingError(no_image(camera))
        age = time.monotonic() - seen.arrival
        if age > MAX_AGE:
            raise TeachingError(
                f'the newest image is {age:.0f} s old, more than {MAX_AGE:.0f} s: let the camera '
                'send one, or call ~/freeze while it does')
        return seen

    def _seen_at(self, pipeline: Pipeline, header: Header) -> Seen:
        """Return the image that boxes with a header were found in."""
        stamp = header.stamp
        if not stamp.sec and not stamp.nanosec:
            return self._seen(pipeline, pipeline.config.shown.camera)
        seen = pipeline.sightings.at(header)
        if not seen:
            raise TeachingError(
                f'no image with the stamp {stamp.sec}.{stamp.nanosec:09d} is held: send boxes '
                f'with the stamp of their image, while it is one of the newest {KEPT}, or 0 for '
                'the newest')
        return seen


def _worth(snapshot: Snapshot, name: str) -> str:
    taught = snapshot.words.taught[name]
    if taught.iou is None:
        return f'1 example (IoU of the word alone there {taught.word_iou:.2f})'
    return (f'{taught.count} examples, IoU in leave-one-out {taught.iou:.2f} (of the word alone '
            f'{taught.word_iou:.2f})')
