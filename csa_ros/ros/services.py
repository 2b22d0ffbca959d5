"""Services that change examples: what they have in common, whatever it is that is shown."""

from collections.abc import Callable
from collections.abc import Coroutine
from collections.abc import Iterable
from collections.abc import Sequence
from functools import partial
from typing import Any
from typing import Generic
from typing import Protocol
from typing import TypeVar

from csa_ros.ros.waiting import Promise
from csa_ros.ros.waiting import Waiting
from csa_ros.teaching.container import KeptExamples
from csa_ros.teaching.errors import TeachingError
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.lifecycle import LifecycleNode
from std_srvs.srv import SetBool
from std_srvs.srv import Trigger

# Seconds after which an image is not what whoever shows something has before their eyes.
MAX_AGE = 10.0


class Learner(Protocol):
    """What examples are brought into force in."""

    @property
    def config(self) -> Any:
        """Return the configuration that is in force, or will be."""

    @property
    def examples(self) -> Any:
        """Return the examples that are in force, or will be."""

    @property
    def file(self) -> KeptExamples:
        """Return the file that they are kept in."""

    def bring(self, config: Any, examples: Any, promise: Promise) -> None:
        """Bring a configuration and examples into force, and promise what has them."""

    def take_back(self, examples: Any) -> None:
        """Want these examples again, after others could not be brought into force."""


Pipeline = TypeVar('Pipeline', bound=Learner)


class ExampleServices(Generic[Pipeline]):
    """
    Offers services on a node, one after the other and beside all its other callbacks.

    All of it is for the thread of the node's executor. `pipeline` returns that of the node, None
    while it is not configured. `widen` returns the configuration as it is with more classes, and
    raises ValueError where that cannot be; `join` makes it that of the node.
    """

    def __init__(self, node: LifecycleNode, pipeline: Callable[[], Pipeline | None],
                 widen: Callable[[Sequence[str]], Any], join: Callable[[Sequence[str]], Any]
                 ) -> None:
        self._node = node
        self._name = node.get_fully_qualified_name()
        self._log = node.get_logger()
        self._pipeline = pipeline
        self._widen = widen
        self._join = join
        self._waiting = Waiting(node)
        self._group = MutuallyExclusiveCallbackGroup()

    def give_up(self) -> None:
        """Answer whoever waits, as what they wait for will not come."""
        self._waiting.give_up(TeachingError(
            'the model was freed meanwhile: configure and activate the node, and try again'))

    def _offer(self, kind: type, name: str,
               work: Callable[[Any], Coroutine[None, None, str]]) -> None:
        """Offer a service, whose `work` gets the request and returns what is answered."""
        # It is awaited, which the types of rclpy do not tell.
        async def callback(request: Any, response: Any) -> Any:
            return await self._answer(response, work(request))

        answering: Any = callback
        self._node.create_service(kind, f'~/{name}', answering, callback_group=self._group)

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

    async def _forget_examples(self, name: str) -> str:
        """Forget the examples of a name, or the last one where it is ''; return what is said."""
        pipeline = self._configured()
        before = pipeline.examples
        name = known(name, before.counts)
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
            f'{snapshot.examples.counts.get(name, 0)} left', kept(pipeline)]))

    async def _bring(self, pipeline: Pipeline, config: Any, examples: Any) -> Any:
        """Bring a configuration and examples into force; return the snapshot that has them."""
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


def no_image(camera: str = '') -> str:
    """Return what is answered while there is no image that could be shown."""
    of = f' of {camera}' if camera else ''
    return (f'no image{of} has arrived yet: start the camera and activate the node; /diagnostics '
            'tells what is missing')


def known(name: str, names: Iterable[str]) -> str:
    """Return the one of some names that a name means, itself if it means none."""
    return next((each for each in names if each.casefold() == name.casefold()), name)


def kept(pipeline: Learner) -> str:
    """Return where examples are kept, or why they are not; '' where they are kept nowhere."""
    if pipeline.file.fault:
        return f'not in the file: {pipeline.file.fault}'
    return f'in {pipeline.file.path}' if pipeline.file.path else ''
