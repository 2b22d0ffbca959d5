"""How classes are taught: services, and boxes that detectors and annotation tools send."""

from collections import Counter
from collections.abc import Callable
from collections.abc import Coroutine
from collections.abc import Iterable
from collections.abc import Sequence
from functools import partial
import time
from typing import Any

from csa_ros.parameters.config import Config
from csa_ros.ros import detections
from csa_ros.ros.pipeline import Pipeline
from csa_ros.ros.sightings import KEPT
from csa_ros.ros.sightings import Seen
from csa_ros.ros.snapshot import Snapshot
from csa_ros.ros.waiting import Waiting
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Header
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

# Seconds after which an image is not what whoever teaches has before their eyes.
MAX_AGE = 10.0
# Messages with boxes that wait while others are taught.
QUEUE = 10


class TeachingServices:
    """
    Offers the services on a node; all of it is for the thread of its executor.

    `pipeline` returns that of the node, None while it is not configured. `widen` returns the
    configuration as it is with more classes, and raises ValueError where that cannot be; `join`
    makes it that of the node.
    """

    def __init__(self, node: LifecycleNode, pipeline: Callable[[], Pipeline | None],
                 widen: Callable[[Sequence[str]], Config],
                 join: Callable[[Sequence[str]], Config]) -> None:
        self._node = node
        self._name = node.get_fully_qualified_name()
        self._log = node.get_logger()
        self._pipeline = pipeline
        self._widen = widen
        self._join = join
        self._waiting = Waiting(node)
        # One after the other, and beside all other callbacks.
        group = MutuallyExclusiveCallbackGroup()
        for kind, name, callback in (
                (Trigger, 'teach', self._on_teach), (SetBool, 'freeze', self._on_freeze),
                (Trigger, 'tune', self._on_tune), (Trigger, 'forget', self._on_forget)):
            node.create_service(kind, f'~/{name}', callback, callback_group=group)
        if detections.Detection2DArray:
            # It is awaited, which the types of rclpy do not tell.
            on_detections: Any = self._on_detections
            self._boxes = node.create_subscription(
                detections.Detection2DArray, '~/teach/detections', on_detections, QUEUE,
                callback_group=group)

    def follow_publishers(self) -> None:
        """Keep images that boxes may come for, while somebody publishes boxes."""
        pipeline = self._pipeline()
        if pipeline and detections.Detection2DArray:
            pipeline.sightings.keep(self._node.count_publishers(self._boxes.topic_name) > 0)

    def give_up(self) -> None:
        """Answer whoever waits, as what they wait for will not come."""
        self._waiting.give_up(TeachingError(
            'the model was freed meanwhile: configure and activate the node, and try again'))

    async def _on_teach(self, _: Trigger.Request, response: Trigger.Response
                        ) -> Trigger.Response:
        return await self._answer(response, self._teach())

    async def _on_freeze(self, request: SetBool.Request, response: SetBool.Response
                         ) -> SetBool.Response:
        return await self._answer(response, self._freeze(request.data))

    async def _on_tune(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return await self._answer(response, self._tune())

    async def _on_forget(self, _: Trigger.Request, response: Trigger.Response
                         ) -> Trigger.Response:
        return await self._answer(response, self._forget())

    async def _on_detections(self, message: 'detections.Detection2DArray') -> None:
        try:
            self._log.info(await self._teach_boxes(message))
        except ValueError as error:
            self._log.error(f'boxes not taught: {error}')
        except Exception as error:
            self._log.error(f'boxes not taught: {type(error).__name__}: {error}')

    async def _answer(self, response: Trigger.Response | SetBool.Response,
                      work: Coroutine[None, None, str]) -> Trigger.Response | SetBool.Response:
        try:
            response.message = await work
            response.success = True
        # What is written for users: regions, names, vocabularies, costs, images.
        except ValueError as error:
            response.message = str(error)
        except Exception as error:
            response.message = f'{type(error).__name__}: {error}'
        if not response.success:
            self._log.error(response.message)
        return response

    async def _teach(self) -> str:
        pipeline = self._configured()
        shown = pipeline.config.shown
        if not shown.name:
            raise TeachingError('teach_name is empty: set it to the class that is shown, as in '
                                f'`ros2 param set {self._name} teach_name dock`')
        seen = self._seen(pipeline, shown.camera)
        name = _known(shown.name, pipeline.config.vocabulary.names)
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
            _kept(pipeline)]))

    async def _teach_boxes(self, message: 'detections.Detection2DArray') -> str:
        """Teach what boxes show, in one step; those that cannot be taught are told."""
        pipeline = self._configured()
        examples, names, refused = pipeline.examples, Counter[str](), []
        for number, detection in enumerate(message.detections, 1):
            try:
                box = detections.read_box(detection, message.header)
                name = _known(box.name or pipeline.config.shown.name,
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
            _kept(pipeline)]))

    async def _freeze(self, frozen: bool) -> str:
        pipeline = self._configured()
        sightings = pipeline.sightings
        if not frozen:
            pipeline.freeze(False)
            return 'what is taught is the newest image again'
        if not sightings.newest:
            raise TeachingError(self._no_image())
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
        pipeline = self._configured()
        before = pipeline.examples
        name = _known(pipeline.config.shown.name, before.counts)
        examples = before.forget(name)
        if len(examples) == len(before):
            raise TeachingError(
                f'there is no example of {name!r}: known are ' + ', '.join(before.counts)
                if before else 'there is no example to forget')
        snapshot = await self._bring(pipeline, pipeline.config, examples)
        count = len(before) - len(snapshot.examples)
        name = before[-1].name if not name else name
        return ', '.join(filter(None, [
            f'{name}: {count} examples forgotten' if count > 1 else f'{name}: 1 example forgotten',
            f'{snapshot.examples.counts.get(name, 0)} left', _kept(pipeline)]))

    async def _bring(self, pipeline: Pipeline, config: Config, examples: Examples) -> Snapshot:
        before = pipeline.examples
        try:
            return await self._waiting.until(partial(pipeline.bring, config, examples))
        except Exception:
            pipeline.take_back(before)
            raise

    def _configured(self) -> Pipeline:
        pipeline = self._pipeline()
        if pipeline is None:
            raise TeachingError(f'the node is not configured: `ros2 lifecycle set {self._name} '
                                'configure`, and activate')
        return pipeline

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
            raise TeachingError(self._no_image(camera))
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

    def _no_image(self, camera: str = '') -> str:
        of = f' of {camera}' if camera else ''
        return (f'no image{of} has arrived yet: start the camera and activate the node; '
                '/diagnostics tells what is missing')


def _known(name: str, names: Iterable[str]) -> str:
    """Return the one of some names that a name means, itself if it means none."""
    return next((each for each in names if each.casefold() == name.casefold()), name)


def _worth(snapshot: Snapshot, name: str) -> str:
    taught = snapshot.words.taught[name]
    if taught.iou is None:
        return f'1 example (IoU of the word alone there {taught.word_iou:.2f})'
    return (f'{taught.count} examples, IoU in leave-one-out {taught.iou:.2f} (of the word alone '
            f'{taught.word_iou:.2f})')


def _kept(pipeline: Pipeline) -> str:
    if pipeline.file.fault:
        return f'not in the file: {pipeline.file.fault}'
    return f'in {pipeline.file.path}' if pipeline.file.path else ''
