"""The services by which classes are taught: `~/teach`, `~/freeze`, `~/tune` and `~/forget`."""

from collections.abc import Callable
from collections.abc import Coroutine
from collections.abc import Iterable
from functools import partial
import time

from csa_ros.parameters.config import Config
from csa_ros.ros.pipeline import Pipeline
from csa_ros.ros.pipeline import Seen
from csa_ros.ros.snapshot import Snapshot
from csa_ros.ros.waiting import Waiting
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

# Seconds after which an image is not what whoever teaches has before their eyes.
MAX_AGE = 10.0


class TeachingServices:
    """
    Offers the services on a node; all of it is for the thread of its executor.

    `pipeline` returns that of the node, None while it is not configured. `widen` returns the
    configuration as it is with one more class, and raises ValueError where that cannot be; `join`
    makes it that of the node.
    """

    def __init__(self, node: LifecycleNode, pipeline: Callable[[], Pipeline | None],
                 widen: Callable[[str], Config], join: Callable[[str], Config]) -> None:
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
        self._widen(name)
        age = time.monotonic() - seen.arrival
        look = await self._waiting.until(partial(pipeline.look, seen, shown.region))
        before = pipeline.examples
        examples = before.add(name, look)
        snapshot = await self._bring(pipeline, self._join(name), examples)
        return ', '.join(filter(None, [
            f'{name}: {_worth(snapshot, name)}',
            f'from an image {age:.1f} s old',
            'an older one made room' if examples.forgotten > before.forgotten else '',
            _kept(pipeline)]))

    async def _freeze(self, frozen: bool) -> str:
        pipeline = self._configured()
        if not frozen:
            pipeline.freeze(False)
            return 'what is taught is the newest image again'
        if not pipeline.newest_seen:
            raise TeachingError(self._no_image())
        pipeline.freeze(True)
        return 'what is taught are images of ' + ', '.join(
            f'{camera or "the camera"} with the stamp {seen.image.header.stamp.sec}.'
            f'{seen.image.header.stamp.nanosec:09d}'
            for camera, seen in sorted(pipeline.frozen.items()))

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
        if camera in pipeline.frozen:
            return pipeline.frozen[camera]
        seen = pipeline.newest_seen.get(camera)
        if not seen:
            raise TeachingError(self._no_image(camera))
        age = time.monotonic() - seen.arrival
        if age > MAX_AGE:
            raise TeachingError(
                f'the newest image is {age:.0f} s old, more than {MAX_AGE:.0f} s: let the camera '
                'send one, or call ~/freeze while it does')
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
