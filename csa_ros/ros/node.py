"""The lifecycle node `segment`: images in, labels out, words that change while it runs."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from functools import wraps
import gc
import signal
import time
import traceback
from typing import Any

from csa_ros.finding.relevancy import Sought
from csa_ros.model.errors import ModelError
from csa_ros.parameters.config import Config
from csa_ros.parameters.config import read_config
from csa_ros.parameters.config import with_classes
from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.loadable import loadable
from csa_ros.parameters.table import NAMES
from csa_ros.parameters.table import PARAMETERS
from csa_ros.process.threads import set_threads
from csa_ros.ros.answering import StateAnswers
from csa_ros.ros.camera import Camera
from csa_ros.ros.context import initialize
from csa_ros.ros.context import StartError
from csa_ros.ros.context import warn_of_unknown
from csa_ros.ros.descriptors import declarations
from csa_ros.ros.diagnostics import Condition
from csa_ros.ros.diagnostics import explain_losses
from csa_ros.ros.diagnostics import Report
from csa_ros.ros.diagnostics import SILENCE
from csa_ros.ros.diagnostics import Statistics
from csa_ros.ros.diagnostics import status
from csa_ros.ros.inputs import ImageInput
from csa_ros.ros.pipeline import Bookmark
from csa_ros.ros.pipeline import Pipeline
from csa_ros.ros.pipeline import prepare
from csa_ros.ros.teaching import TeachingServices
from csa_ros.ros.transport import remedy_for_losses
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.file import ExamplesFile
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
import rclpy
from rclpy.clock import Clock
from rclpy.clock import ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.lifecycle import LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.parameter import Parameter
from rclpy.utilities import get_rmw_implementation_identifier
from std_msgs.msg import Header

# Longer than any frame takes; encoding a large vocabulary on a CPU may take longer still.
THREAD_TIMEOUT = 5.0
WARN_PERIOD = 10.0

_Transition = Callable[['SegmentNode', LifecycleState], TransitionCallbackReturn]


def _logs_errors(transition: _Transition) -> _Transition:
    """Log what a transition raises; rclpy goes on to error processing without a word."""
    @wraps(transition)
    def logged(self: 'SegmentNode', state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except Exception:
            self.get_logger().error(f'{transition.__name__}:\n{traceback.format_exc()}')
            return TransitionCallbackReturn.ERROR
    return logged


class SegmentNode(LifecycleNode):
    """
    Subscribes to cameras while active and publishes labels, what is made of them, and a legend.

    `load` makes the segmenter when the node is configured, and takes what `Segmenter.load` does.
    Raises ParameterError or rclpy's ParameterException for bad initial parameters. Spin it in a
    SingleThreadedExecutor: all callbacks are short, save the one that loads the model, and that
    lets the services answer which tell the state.
    """

    def __init__(self, load: Callable[..., Segmenter] = Segmenter.load, **kwargs: Any) -> None:
        super().__init__('segment', **kwargs)
        self._load = load
        # While the node is configured.
        self._pipeline: Pipeline | None = None
        self._state = 'unconfigured'
        self._fault = ''
        self._bookmark = Bookmark()
        # When each camera's silence was last warned of.
        self._warned: dict[str, float] = {}
        # The kinds of doubt about each camera that were logged and still hold.
        self._doubted: dict[str, set[str]] = {}
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.declare_parameters('', declarations())
        warn_of_unknown(self)
        self._read_parameters()
        self._keep_loadable()
        self.add_on_set_parameters_callback(self._validate)
        self._parameters_set = self.create_guard_condition(self._reconcile)
        self._answers = StateAnswers(self)
        self._teaching = TeachingServices(
            self, lambda: self._pipeline, lambda names: self._widened(names)[0], self._join)
        self._diagnostics = self.create_publisher(DiagnosticArray, '/diagnostics', 10)
        self.create_timer(1.0, self._tick, clock=self._steady_clock)

    @property
    def autostart(self) -> bool:
        """Whether the node is to configure and activate itself."""
        return self._config.autostart

    @_logs_errors
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm up the model; stay unconfigured, with the reason logged, if that fails."""
        config = self._read_parameters()
        # Before the pipeline starts its threads: those that use PyTorch already keep their number.
        threads = set_threads(config.model.threads)
        self.get_logger().info(f'loading {config.model.model}, CPU threads: {threads} ...')
        try:
            loaded = self._answers.during(
                partial(_load, self._load, self._values(), self.get_logger().warning))
            self._config = loaded.config
            self._pipeline = Pipeline(
                self, loaded.segmenter, loaded.words, loaded.config, loaded.examples, loaded.file,
                self._bookmark, self._statistics, loaded.sought)
        except Exception as error:
            self._fault = f'not configured: {_explain(error)}'
            self.get_logger().error(self._fault)
            return TransitionCallbackReturn.FAILURE
        self._fault = ''
        if loaded.vocabulary:
            self.set_parameters([Parameter('vocabulary', value=loaded.vocabulary)])
        self._state = 'inactive'
        return super().on_configure(state)

    @_logs_errors
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, and publish the legend."""
        result = super().on_activate(state)
        for statistics in self._statistics.values():
            statistics.restart_silence()
        self._configured().activate()
        self._state = 'active'
        self.get_logger().info(self._ready())
        return result

    @_logs_errors
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and let the frame in progress out, unless it takes long."""
        self._configured().pause(THREAD_TIMEOUT)
        self._state = 'inactive'
        self.get_logger().info('inactive: the model stays loaded')
        return super().on_deactivate(state)

    @_logs_errors
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and its memory."""
        self._release()
        self._state = 'unconfigured'
        self.get_logger().info('unconfigured: the model is freed')
        return super().on_cleanup(state)

    @_logs_errors
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        self._release()
        self._state = 'finalized'
        return super().on_shutdown(state)

    @_logs_errors
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start over as unconfigured after a transition has failed half way."""
        self._release()
        self._state = 'unconfigured'
        self._fault = f'a transition from {state.label} failed; see the log'
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Free everything; no thread of the node is left running."""
        self._release()
        super().destroy_node()

    def _configured(self) -> Pipeline:
        """Return the pipeline, for transitions that there are from a configured state alone."""
        if self._pipeline is None:
            raise RuntimeError('the node is not configured')
        return self._pipeline

    def _release(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline:
            self._teaching.give_up()
            self._bookmark = pipeline.close(THREAD_TIMEOUT)

    def _read_parameters(self) -> Config:
        """Take over all parameters, which the cameras are among, and count from zero."""
        self._config = read_config(self._values())
        self._statistics = {camera.name: Statistics() for camera in self._config.cameras}
        return self._config

    def _values(self) -> dict:
        return {name: self.get_parameter(name).value for name in NAMES}

    def _validate(self, changes: list[Parameter]) -> SetParametersResult:
        """Judge a change without applying it: it may still be refused elsewhere."""
        try:
            self._check(read_config(
                {**self._values(), **{change.name: change.value for change in changes}}))
        except Exception as error:
            return SetParametersResult(successful=False, reason=_explain(error))
        self._parameters_set.trigger()
        return SetParametersResult(successful=True)

    def _check(self, config: Config) -> None:
        if self._pipeline is None:
            return
        for name, value in config.loaded.items():
            if value != self._config.loaded[name]:
                command = f'`ros2 lifecycle set {self.get_fully_qualified_name()}'
                raise ParameterError(
                    f'{name} cannot change while the model is loaded: restart the node with it, '
                    f'or free the model with {command} deactivate` and {command} cleanup`, set '
                    f'{name}, then {command} configure` and {command} activate`')
        self._pipeline.check(config)

    def _reconcile(self) -> None:
        """Bring the parameters into force as they are now."""
        self._keep_loadable()
        if self._pipeline is None:
            self._read_parameters()
            return
        self._config = read_config(self._values())
        self._pipeline.change(self._config)

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
            result, = self.set_parameters([Parameter('vocabulary', value=vocabulary)])
            if not result.successful:
                raise ParameterError(result.reason)
            self._config = config
        return config

    def _keep_loadable(self) -> None:
        """Hold words in a form that `ros2 param load` takes again from a dump."""
        for item in PARAMETERS:
            value = self.get_parameter(item.name).value
            if item.words and loadable(value) != value:
                self.set_parameters([Parameter(item.name, value=loadable(value))])

    def _ready(self) -> str:
        pipeline = self._configured()
        segmenter, snapshot = pipeline.segmenter, pipeline.newest
        return '\n  '.join([
            'ready',
            f'model: {segmenter.name}, on {segmenter.device}, {segmenter.backbone.arithmetic}',
            f'attention: {segmenter.attention}',
            f'vocabulary, version {snapshot.version}: {", ".join(snapshot.words.vocabulary.spec)}',
            'listening to ' + ', '.join(
                camera.image_input.describe() for camera in pipeline.cameras
                if camera.image_input)])

    def _tick(self) -> None:
        self._teaching.follow_publishers()
        reports = {name: statistics.report() for name, statistics in self._statistics.items()}
        conditions = dict.fromkeys(reports, Condition(self._state, self._fault))
        if self._pipeline:
            for camera in self._pipeline.cameras:
                camera.follow_publishers()
                conditions[camera.name] = self._condition(self._pipeline, camera)
                self._warn_of_doubts(camera)
                if camera.image_input:
                    self._warn_of_shortfall(camera, camera.image_input, reports[camera.name])
        node = self.get_fully_qualified_name().lstrip('/')
        self._diagnostics.publish(DiagnosticArray(
            header=Header(stamp=self.get_clock().now().to_msg()),
            status=[status(f'{node}: {name or "segmentation"}', conditions[name], report)
                    for name, report in reports.items()]))

    def _warn_of_shortfall(self, camera: Camera, images: ImageInput, report: Report) -> None:
        """Say what nobody may have noticed: that there is little or nothing to work on."""
        reason = ''
        if report.silence > SILENCE:
            reason = (f'no image for {report.silence:.0f} s on {images.describe()}: '
                      f'{images.explain_silence()}')
        elif camera.depth_input and not report.rates['points'] and not report.rates['bad_depth']:
            missing = camera.explain_missing_points()
            reason = missing and f'no points, which somebody listens to: {missing}'
        reason = reason or explain_losses(_remedy(images), report)
        now = time.monotonic()
        if reason and now - self._warned.get(camera.name, -WARN_PERIOD) >= WARN_PERIOD:
            self._warned[camera.name] = now
            self.get_logger().warning(reason)

    def _warn_of_doubts(self, camera: Camera) -> None:
        """Log each kind of doubt once, when it arises."""
        doubts = camera.doubts()
        for kind in sorted(doubts.keys() - self._doubted.get(camera.name, set())):
            place = f'{camera.name}: ' if camera.name else ''
            self.get_logger().warning(f'{place}{doubts[kind]}')
        self._doubted[camera.name] = set(doubts)

    def _condition(self, pipeline: Pipeline, camera: Camera) -> Condition:
        segmenter, snapshot = pipeline.segmenter, pipeline.newest
        return Condition(
            self._state,
            fault=pipeline.fault,
            doubts=tuple(camera.doubts().values()),
            device=str(segmenter.device),
            waiting_for=camera.image_input.topic if camera.image_input else '',
            limited=self._config.max_rate > 0,
            remedy=_remedy(camera.image_input) if camera.image_input else '',
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


def _explain(error: Exception) -> str:
    """Return the message alone where it is written for users, and the type where it is not."""
    if isinstance(error, (ModelError, ValueError)):
        return str(error)
    return f'{type(error).__name__}: {error}'


def _remedy(images: ImageInput) -> str:
    return remedy_for_losses(get_rmw_implementation_identifier(), images.reliable)


def _spin(node: SegmentNode, executor: SingleThreadedExecutor) -> int:
    if node.autostart:
        for trigger in node.trigger_configure, node.trigger_activate:
            if trigger() != TransitionCallbackReturn.SUCCESS:
                return 1
    executor.add_node(node)
    executor.spin()
    return 0


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to stop; return 1 if it could not start."""
    # rclpy calls this after its own handler: SIGTERM, like SIGINT, ends the loading of a model.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        initialize('segment', args, NAMES)
    except StartError as error:
        get_logger('segment').fatal(str(error))
        return 1
    node = executor = None
    try:
        # On a signal a thread of rclpy wakes all executors, and crashes if one has just been
        # freed: this one must last until that thread is ended, by try_shutdown.
        executor = SingleThreadedExecutor()
        node = SegmentNode()
        return _spin(node, executor)
    except (ParameterError, ParameterException) as error:
        get_logger('segment').fatal(f'bad parameter: {error}')
        return 1
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        # launch repeats the Ctrl-C that the terminal has sent, and sends SIGTERM after five
        # seconds: leave the clean-up its time.
        handlers = [(number, signal.signal(number, signal.SIG_IGN))
                    for number in (signal.SIGINT, signal.SIGTERM)]
        if node:
            node.destroy_node()
        rclpy.try_shutdown()
        # The node and its state machine hold each other. Others would see them on the graph for
        # another 20 s if the process ended before they are freed: that says goodbye.
        node = executor = None
        gc.collect()
        for number, handler in handlers:
            signal.signal(number, handler)
