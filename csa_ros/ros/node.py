"""The lifecycle node `segment`: images in, labels out, words that change while it runs."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from csa_ros.finding.relevancy import Sought
from csa_ros.parameters.config import Config
from csa_ros.parameters.config import read_config
from csa_ros.parameters.config import with_classes
from csa_ros.parameters.table import NAMES
from csa_ros.parameters.table import PARAMETERS
from csa_ros.ros.diagnostics import Condition
from csa_ros.ros.diagnostics import LABELS
from csa_ros.ros.lifecycle import ModelNode
from csa_ros.ros.lifecycle import remedy
from csa_ros.ros.lifecycle import run
from csa_ros.ros.lifecycle import THREAD_TIMEOUT
from csa_ros.ros.pipeline import Bookmark
from csa_ros.ros.pipeline import Pipeline
from csa_ros.ros.pipeline import prepare
from csa_ros.ros.source import ImageSource
from csa_ros.ros.teaching import TeachingServices
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.file import ExamplesFile
from rclpy.parameter import Parameter


class SegmentNode(ModelNode[Config, Pipeline]):
    """
    Subscribes to cameras while active and publishes labels, what is made of them, and a legend.

    `load` makes the segmenter when the node is configured, and takes what `Segmenter.load` does.
    """

    subject = 'segmentation'
    output = LABELS

    def __init__(self, load: Callable[..., Segmenter] = Segmenter.load, **kwargs: Any) -> None:
        super().__init__('segment', PARAMETERS, **kwargs)
        self._load = load
        self._bookmark = Bookmark()
        self._joined: list[str] | None = None
        self._teaching = TeachingServices(
            self, lambda: self._pipeline, lambda names: self._widened(names)[0], self._join)

    def _parse(self, values: Mapping[str, Any]) -> Config:
        return read_config(values)

    def _sources(self, config: Config) -> list[str]:
        return [camera.name for camera in config.cameras]

    def _loading(self) -> Callable[[], '_Loaded']:
        return partial(_load, self._load, self._values(), self.get_logger().warning)

    def _begin(self, loaded: '_Loaded') -> None:
        self._config = loaded.config
        self._joined = loaded.vocabulary
        self._pipeline = Pipeline(
            self, loaded.segmenter, loaded.words, loaded.config, loaded.examples, loaded.file,
            self._bookmark, self._statistics, loaded.sought)

    def _settle(self) -> None:
        if self._joined:
            self.set_parameters([Parameter('vocabulary', value=self._joined)])

    def _end(self, pipeline: Pipeline) -> None:
        self._teaching.give_up()
        self._bookmark = pipeline.close(THREAD_TIMEOUT)

    def _widened(self, names: Sequence[str]) -> tuple[Config, list[str] | None]:
        """Return the configuration with classes in it, and the vocabulary that this takes."""
        new = [name for name in names if name not in self._config.vocabulary.names]
        if not new:
            return self._config, None
        config, vocabulary = _with_classes(self._values(), new)
        self._check(config)
        return config, vocabulary

    def _join(self, names: Sequence[str]) -> Config:
        """Let classes join the vocabulary unless they are in it; raise ParameterError."""
        config, vocabulary = self._widened(names)
        if vocabulary:
            self._adopt(config, 'vocabulary', vocabulary)
        return config

    def _facts(self) -> list[str]:
        pipeline = self._configured()
        segmenter, snapshot = pipeline.segmenter, pipeline.newest
        return [
            f'model: {segmenter.name}, on {segmenter.device}, {segmenter.backbone.arithmetic}',
            f'attention: {segmenter.attention}',
            f'vocabulary, version {snapshot.version}: {", ".join(snapshot.words.vocabulary.spec)}']

    def _tick(self) -> None:
        self._teaching.follow_publishers()
        super()._tick()

    def _condition(self, pipeline: Pipeline, camera: ImageSource) -> Condition:
        segmenter, snapshot = pipeline.segmenter, pipeline.newest
        return Condition(
            self._state,
            fault=pipeline.fault,
            doubts=tuple(camera.doubts().values()),
            device=str(segmenter.device),
            waiting_for=camera.image_input.topic if camera.image_input else '',
            limited=self._config.max_rate > 0,
            remedy=remedy(camera),
            facts={
                'model': segmenter.name,
                'device': str(segmenter.device),
                'precision': segmenter.backbone.arithmetic,
                'attention': segmenter.encoder.attention,
                'vocabulary version': str(snapshot.version),
                'vocabulary size': str(len(snapshot.words.vocabulary)),
                **({'examples': str(len(snapshot.examples))} if snapshot.examples else {}),
                **({'16-bit samples': camera.samples.summary} if camera.samples.summary else {})})


def _with_classes(values: Mapping[str, Any], names: Sequence[str]) -> tuple[Config, list[str]]:
    """Return the configuration of values with more classes, and the vocabulary with them."""
    vocabulary = with_classes(values['vocabulary'], names)
    return read_config({**values, 'vocabulary': vocabulary}), vocabulary


@dataclass(frozen=True)
class _Loaded:
    """What the pipeline needs first; `vocabulary` is that parameter if classes have joined it."""

    segmenter: Segmenter
    config: Config
    words: Words
    sought: Sought | None
    examples: Examples
    file: ExamplesFile
    vocabulary: list[str] | None


def _load(load: Callable[..., Segmenter], values: Mapping[str, Any], warn: Callable[[str], object]
          ) -> _Loaded:
    """Return what the pipeline needs first; a function, which does not keep the node alive."""
    config, vocabulary = read_config(values), None
    segmenter = load(**config.model.to_load, settings=config.settings, measure=True)
    file = ExamplesFile(config.examples)
    examples = file.load(segmenter.fingerprint(config.settings))
    if file.fault:
        warn(file.fault)
    for name in examples.counts:
        if name in config.vocabulary.names:
            continue
        try:
            wider, names = _with_classes(values, [name])
            segmenter.check(wider.vocabulary, wider.prompts)
        except ValueError as error:
            warn(f'{name}, which was taught, cannot join the vocabulary: {error}')
        else:
            config, vocabulary, values = wider, names, {**values, 'vocabulary': names}
    words, sought = prepare(segmenter, config, examples, warn)
    return _Loaded(segmenter, config, words, sought, examples, file, vocabulary)


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop; return 1 if it could not start."""
    return run('segment', SegmentNode, args, NAMES)
