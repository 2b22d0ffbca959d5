"""How actions are shown: services that record what has just happened, and forget it."""

from collections.abc import Callable
from collections.abc import Sequence
from functools import partial

from csa_ros.actions.examples import Demonstration
from csa_ros.parameters.actions_config import ActionsConfig
from csa_ros.ros.actions.pipeline import ActionPipeline
from csa_ros.ros.services import ExampleServices
from csa_ros.ros.services import kept
from csa_ros.ros.services import known
from csa_ros.teaching.errors import TeachingError
from rclpy.lifecycle import LifecycleNode
from std_srvs.srv import Trigger


class RecordingServices(ExampleServices[ActionPipeline]):
    """Offers what records actions on a node."""

    def __init__(self, node: LifecycleNode, pipeline: Callable[[], ActionPipeline | None],
                 widen: Callable[[Sequence[str]], ActionsConfig],
                 join: Callable[[Sequence[str]], ActionsConfig]) -> None:
        super().__init__(node, pipeline, widen, join)
        self._offer(Trigger, 'record', lambda request: self._record())
        self._offer(Trigger, 'forget', lambda request: self._forget())

    async def _record(self) -> str:
        pipeline = self._configured()
        name = pipeline.config.action_name
        if not name:
            raise TeachingError('action_name is empty: set it to the action that is shown, as in '
                                f'`ros2 param set {self._name} action_name wave`')
        name = known(name, (*pipeline.config.actions, *pipeline.examples.names))
        # Before the model is at work: there may be no room for the name.
        self._widen([name])
        demonstration: Demonstration = await self._waiting.until(
            partial(pipeline.demonstrate, name))
        before = pipeline.examples
        examples = before.add(name, demonstration)
        window = pipeline.config.window
        snapshot = await self._bring(pipeline, self._join([name]), examples)
        count = snapshot.examples.counts[name]
        return ', '.join(filter(None, [
            f'{name}: {count} example{"s" if count > 1 else ""}',
            f'of the last {window:g} s',
            'an older one made room' if examples.forgotten > before.forgotten else '',
            kept(pipeline)]))

    async def _forget(self) -> str:
        return await self._forget_examples(self._configured().config.action_name)
