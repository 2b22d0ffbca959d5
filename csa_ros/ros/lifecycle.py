"""What the nodes with a model have in common: states, parameters, diagnostics, how they end."""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from functools import wraps
import gc
import signal
import time
import traceback
from typing import Any
from typing import Generic
from typing import Protocol
from typing import TypeVar

from csa_ros.model.errors import ModelError
from csa_ros.parameters.errors import ParameterError
from csa_ros.parameters.loadable import loadable
from csa_ros.parameters.table import Parameter as Described
from csa_ros.process.threads import set_threads
from csa_ros.ros.answering import StateAnswers
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
from csa_ros.ros.source import ImageSource
from csa_ros.ros.transport import remedy_for_losses
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

_Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


class Configuration(Protocol):
    """What the parameters of a node say, checked."""

    @property
    def autostart(self) -> bool:
        """Return whether the node is to configure and activate itself."""

    @property
    def model(self) -> Any:
        """Return what is loaded: `model` is its name, `threads` are those that compute."""

    @property
    def loaded(self) -> Mapping[str, Any]:
        """Return by name what stays as it is from configuration to cleanup."""


class Work(Protocol):
    """What works while the node is active; it is there while the node is configured."""

    @property
    def cameras(self) -> Sequence[ImageSource]:
        """Return what images come from."""

    def check(self, config: Any) -> None:
        """Raise ValueError or ModelError for a configuration that cannot come into force."""

    def change(self, config: Any) -> None:
        """Bring another configuration into force."""

    def activate(self) -> None:
        """Listen to the cameras."""

    def pause(self, timeout: float) -> bool:
        """Stop listening; return whether what ran ended within `timeout` seconds."""


Settings = TypeVar('Settings', bound=Configuration)
Pipeline = TypeVar('Pipeline', bound=Work)


def _logs_errors(transition: _Transition) -> _Transition:
    """Log what a transition raises; rclpy goes on to error processing without a word."""
    @wraps(transition)
    def logged(self: Any, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except Exception:
            self.get_logger().error(f'{transition.__name__}:\n{traceback.format_exc()}')
            return TransitionCallbackReturn.ERROR
    return logged


class ModelNode(LifecycleNode, Generic[Settings, Pipeline]):
    """
    A node that loads a model when it is configured, and takes images while it is active.

    Its parameters are those of `table`; what they are to mean is for `_parse`. Raises
    ParameterError or rclpy's ParameterException for bad initial parameters. Spin it in a
    SingleThreadedExecutor: all callbacks are short, save the one that loads the model, and that
    lets the services answer which tell the state.
    """

    # What the status of a camera without a name is called, and what is published for each frame.
    subject = ''
    output = ''

    def __init__(self, name: str, table: Sequence[Described], **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self._table = table
        # While the node is configured.
        self._pipeline: Pipeline | None = None
        self._state = 'unconfigured'
        self._fault = ''
        # When each camera's silence was last warned of.
        self._warned: dict[str, float] = {}
        # The kinds of doubt about each camera that were logged and still hold.
        self._doubted: dict[str, set[str]] = {}
        self._steady_clock = Clock(clock_type=ClockType.STEADY_TIME)
        self.declare_parameters('', declarations(table))
        warn_of_unknown(self)
        self._read_parameters()
        self._keep_loadable()
        self.add_on_set_parameters_callback(self._validate)
        self._parameters_set = self.create_guard_condition(self._reconcile)
        self._answers = StateAnswers(self)
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
            self._begin(self._answers.during(self._loading()))
        except Exception as error:
            self._fault = f'not configured: {explain(error)}'
            self.get_logger().error(self._fault)
            return TransitionCallbackReturn.FAILURE
        self._fault = ''
        self._settle()
        self._state = 'inactive'
        return super().on_configure(state)

    @_logs_errors
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, and publish what outputs mean."""
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

    def _parse(self, values: Mapping[str, Any]) -> Settings:
        """Return what the values of all parameters say; raise ParameterError."""
        raise NotImplementedError

    def _sources(self, config: Settings) -> Sequence[str]:
        """Return the names of the cameras."""
        raise NotImplementedError

    def _loading(self) -> Callable[[], Any]:
        """Return what loads the model, and does not hold on to the node."""
        raise NotImplementedError

    def _begin(self, loaded: Any) -> None:
        """Make the pipeline of what was loaded."""
        raise NotImplementedError

    def _settle(self) -> None:
        """Set the parameters that what was loaded has changed."""

    def _end(self, pipeline: Pipeline) -> None:
        """End the pipeline, and free the model."""
        raise NotImplementedError

    def _facts(self) -> list[str]:
        """Return what is in force, a line each."""
        raise NotImplementedError

    def _condition(self, pipeline: Pipeline, camera: ImageSource) -> Condition:
        """Return what the node is, for the diagnostics of a camera."""
        raise NotImplementedError

    def _configured(self) -> Pipeline:
        """Return the pipeline, for transitions that there are from a configured state alone."""
        if self._pipeline is None:
            raise RuntimeError('the node is not configured')
        return self._pipeline

    def _release(self) -> None:
        pipeline, self._pipeline = self._pipeline, None
        if pipeline:
            self._end(pipeline)

    def _read_parameters(self) -> Settings:
        """Take over all parameters, which the cameras are among, and count from zero."""
        self._config = self._parse(self._values())
        self._statistics = {name: Statistics() for name in self._sources(self._config)}
        return self._config

    def _values(self) -> dict[str, Any]:
        return {item.name: self.get_parameter(item.name).value for item in self._table}

    def _validate(self, changes: list[Parameter]) -> SetParametersResult:
        """Judge a change without applying it: it may still be refused elsewhere."""
        try:
            self._check(self._parse(
                {**self._values(), **{change.name: change.value for change in changes}}))
        except Exception as error:
            return SetParametersResult(successful=False, reason=explain(error))
        self._parameters_set.trigger()
        return SetParametersResult(successful=True)

    def _check(self, config: Settings) -> None:
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
        self._config = self._parse(self._values())
        self._pipeline.change(self._config)

    def _adopt(self, config: Settings, name: str, value: Any) -> None:
        """Set a parameter, which leads to a configuration; raise ParameterError if refused."""
        result, = self.set_parameters([Parameter(name, value=value)])
        if not result.successful:
            raise ParameterError(result.reason)
        self._config = config

    def _keep_loadable(self) -> None:
        """Hold words in a form that `ros2 param load` takes again from a dump."""
        for item in self._table:
            value = self.get_parameter(item.name).value
            if item.words and loadable(value) != value:
                self.set_parameters([Parameter(item.name, value=loadable(value))])

    def _ready(self) -> str:
        return '\n  '.join([
            'ready', *self._facts(),
            'listening to ' + ', '.join(
                camera.image_input.describe() for camera in self._configured().cameras
                if camera.image_input)])

    def _tick(self) -> None:
        reports = {name: statistics.report() for name, statistics in self._statistics.items()}
        conditions = dict.fromkeys(reports, Condition(self._state, self._fault))
        if self._pipeline:
            for camera in self._pipeline.cameras:
                camera.follow_publishers()
                conditions[camera.name] = self._condition(self._pipeline, camera)
                self._warn_of_doubts(camera)
                self._warn_of_shortfall(camera, reports[camera.name])
        node = self.get_fully_qualified_name().lstrip('/')
        self._diagnostics.publish(DiagnosticArray(
            header=Header(stamp=self.get_clock().now().to_msg()),
            status=[status(f'{node}: {name or self.subject}', conditions[name], report,
                           self.output)
                    for name, report in reports.items()]))

    def _warn_of_shortfall(self, camera: ImageSource, report: Report) -> None:
        """Say what nobody may have noticed: that there is little or nothing to work on."""
        images = camera.image_input
        if not images:
            return
        if report.silence > SILENCE:
            reason = (f'no image for {report.silence:.0f} s on {images.describe()}: '
                      f'{images.explain_silence()}')
        else:
            reason = camera.explain_shortfall(report)
        reason = reason or explain_losses(remedy(camera), report)
        now = time.monotonic()
        if reason and now - self._warned.get(camera.name, -WARN_PERIOD) >= WARN_PERIOD:
            self._warned[camera.name] = now
            self.get_logger().warning(reason)

    def _warn_of_doubts(self, camera: ImageSource) -> None:
        """Log each kind of doubt once, when it arises."""
        doubts = camera.doubts()
        for kind in sorted(doubts.keys() - self._doubted.get(camera.name, set())):
            place = f'{camera.name}: ' if camera.name else ''
            self.get_logger().warning(f'{place}{doubts[kind]}')
        self._doubted[camera.name] = set(doubts)


def explain(error: Exception) -> str:
    """Return the message alone where it is written for users, and the type where it is not."""
    if isinstance(error, (ModelError, ValueError)):
        return str(error)
    return f'{type(error).__name__}: {error}'


def remedy(camera: ImageSource) -> str:
    """Return what helps where images of a camera get lost; '' while nothing is subscribed to."""
    images = camera.image_input
    if not images:
        return ''
    return remedy_for_losses(get_rmw_implementation_identifier(), images.reliable)


def _spin(node: ModelNode, executor: SingleThreadedExecutor) -> int:
    if node.autostart:
        for trigger in node.trigger_configure, node.trigger_activate:
            if trigger() != TransitionCallbackReturn.SUCCESS:
                return 1
    executor.add_node(node)
    executor.spin()
    return 0


def run(name: str, make: Callable[[], ModelNode], args: Sequence[str] | None,
        parameters: Sequence[str]) -> int:
    """
    Run a node until it is told to stop; return 1 if it could not start.

    `args` are those of the executable of this name, None for those of the process, and
    `parameters` the names of those of the node.
    """
    # rclpy calls this after its own handler: SIGTERM, like SIGINT, ends the loading of a model.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        initialize(name, args, parameters)
    except StartError as error:
        get_logger(name).fatal(str(error))
        return 1
    node = executor = None
    try:
        # On a signal a thread of rclpy wakes all executors, and crashes if one has just been
        # freed: this one must last until that thread is ended, by try_shutdown.
        executor = SingleThreadedExecutor()
        node = make()
        return _spin(node, executor)
    except (ParameterError, ParameterException) as error:
        get_logger(name).fatal(f'bad parameter: {error}')
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
