"""The lifecycle node `actions`: images in, what happens in them out."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from csa_ros.actions.examples import ActionExamples
from csa_ros.actions.file import ActionsFile
from csa_ros.actions.recogniser import load_recogniser
from csa_ros.actions.recogniser import Recogniser
from csa_ros.actions.words import Words
from csa_ros.parameters.actions import NAMES
from csa_ros.parameters.actions import PARAMETERS
from csa_ros.parameters.actions_config import ActionsConfig
from csa_ros.parameters.actions_config import read_actions_config
from csa_ros.parameters.actions_config import with_actions
from csa_ros.ros.actions.pipeline import ActionPipeline
from csa_ros.ros.actions.recording import RecordingServices
from csa_ros.ros.diagnostics import Condition
from csa_ros.ros.lifecycle import ModelNode
from csa_ros.ros.lifecycle import remedy
from csa_ros.ros.lifecycle import run
from csa_ros.ros.lifecycle import THREAD_TIMEOUT
from csa_ros.ros.source import ImageSource
import numpy as np
from rclpy.parameter import Parameter

_WARM_UP_SIZE = (480, 640)


class ActionsNode(ModelNode[ActionsConfig, ActionPipeline]):
    """
    Watches a camera while active, and publishes which action is going on.

    `load` makes the recogniser when the node is configured, and takes what `load_recogniser` does.
    """

    subject = 'actions'
    output = 'answers'

    def __init__(self, load: Callable[..., Recogniser] = load_recogniser, **kwargs: Any) -> None:
        super().__init__('actions', PARAMETERS, **kwargs)
        self._load = load
        self._joined: list[str] | None = None
        self._recording = RecordingServices(
            self, lambda: self._pipeline, lambda names: self._widened(names)[0], self._join)

    def _parse(self, values: Mapping[str, Any]) -> ActionsConfig:
        return read_actions_config(values)

    def _sources(self, config: ActionsConfig) -> list[str]:
        return [config.camera.name]

    def _loading(self) -> Callable[[], '_Loaded']:
        return partial(_load, self._load, self._values(), self.get_logger().warning)

    def _begin(self, loaded: '_Loaded') -> None:
        self._config = loaded.config
        self._joined = loaded.actions
        statistics, = self._statistics.values()
        self._pipeline = ActionPipeline(
            self, loaded.recogniser, loaded.words, loaded.config, loaded.examples, loaded.file,
            statistics)

    def _settle(self) -> None:
        if self._joined:
            self.set_parameters([Parameter('actions', value=self._joined)])

    def _end(self, pipeline: ActionPipeline) -> None:
        self._recording.give_up()
        pipeline.close(THREAD_TIMEOUT)

    def _widened(self, names: Sequence[str]) -> tuple[ActionsConfig, list[str] | None]:
        """Return the configuration with actions in it, and the parameter that this takes."""
        new = [name for name in names if name not in self._config.actions]
        if not new:
            return self._config, None
        config, actions = _with_actions(self._values(), new)
        self._check(config)
        return config, actions

    def _join(self, names: Sequence[str]) -> ActionsConfig:
        """Let names join the actions unless they are among them; raise ParameterError."""
        config, actions = self._widened(names)
        if actions:
            self._adopt(config, 'actions', actions)
        return config

    def _facts(self) -> list[str]:
        pipeline = self._configured()
        recogniser, snapshot = pipeline.recogniser, pipeline.newest
        return [
            f'model: {recogniser.name}, on {recogniser.device}, {recogniser.arithmetic}',
            f'method: {recogniser.method}',
            f'actions: {", ".join(snapshot.words.names) or "none yet"}, with '
            f'{len(snapshot.examples)} examples']

    def _condition(self, pipeline: ActionPipeline, camera: ImageSource) -> Condition:
        recogniser, snapshot = pipeline.recogniser, pipeline.newest
        return Condition(
            self._state,
            fault=pipeline.fault,
            doubts=tuple(camera.doubts().values()),
            device=str(recogniser.device),
            waiting_for=camera.image_input.topic if camera.image_input else '',
            relief='a longer window takes fewer',
            remedy=remedy(camera),
            facts={
                'model': recogniser.name,
                'device': str(recogniser.device),
                'precision': recogniser.arithmetic,
                'method': recogniser.method,
                'actions': ', '.join(snapshot.words.names),
                'examples': ', '.join(
                    f'{name}: {count}' for name, count in snapshot.examples.counts.items()),
                'window filled (%)': f'{100 * pipeline.filled:.0f}',
                **({'16-bit samples': camera.samples.summary} if camera.samples.summary else {})})


def _with_actions(values: Mapping[str, Any], names: Sequence[str]
                  ) -> tuple[ActionsConfig, list[str]]:
    """Return the configuration of values with more actions, and the parameter with them."""
    actions = with_actions(values['actions'], names)
    return read_actions_config({**values, 'actions': actions}), actions


@dataclass(frozen=True)
class _Loaded:
    """What the pipeline needs first; `actions` is that parameter if names have joined it."""

    recogniser: Recogniser
    config: ActionsConfig
    words: Words
    examples: ActionExamples
    file: ActionsFile
    actions: list[str] | None


def _load(load: Callable[..., Recogniser], values: Mapping[str, Any],
          warn: Callable[[str], object]) -> _Loaded:
    """Return what the pipeline needs first; a function, which does not keep the node alive."""
    config, actions = read_actions_config(values), None
    recogniser = load(**config.model.to_load)
    file = ActionsFile(config.examples)
    examples = file.load(recogniser.fingerprint)
    if file.fault:
        warn(file.fault)
    for name in examples.names:
        if name in config.actions:
            continue
        try:
            wider, names = _with_actions(values, [name])
            recogniser.check(wider.actions, wider.prompts)
        except ValueError as error:
            warn(f'{name}, which was recorded, cannot join the actions: {error}')
        else:
            config, actions, values = wider, names, {**values, 'actions': names}
    recogniser.check(config.actions, config.prompts)
    words = recogniser.encode(config.actions, config.prompts)
    # So that the first frame is not slow.
    recogniser.observe(np.zeros((*_WARM_UP_SIZE, 3), np.uint8))
    return _Loaded(recogniser, config, words, examples, file, actions)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop; return 1 if it could not start."""
    return run('actions', ActionsNode, args, NAMES)
