"""
From images of a camera to the action that is going on: the threads, and what they work with.

Three threads take part. The executor's chooses which images are looked at (`offer`), and hands
over configurations (`change`) and what is recorded (`demonstrate`, `bring`). One encodes words.
One looks at images and judges windows; it alone publishes, and knows the window.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
import gc
import time

from csa_ros.actions.examples import ActionExamples
from csa_ros.actions.examples import Demonstration
from csa_ros.actions.file import ActionsFile
from csa_ros.actions.recogniser import Recogniser
from csa_ros.actions.words import Words
from csa_ros.drawing.filmstrip import filmstrip
from csa_ros.parameters.actions_config import ActionsConfig
from csa_ros.process.cancellation import cancellable
from csa_ros.process.cancellation import Cancelled
from csa_ros.ros.actions.outputs import ActionOutputs
from csa_ros.ros.actions.outputs import RecordedOutput
from csa_ros.ros.actions.snapshot import Snapshot
from csa_ros.ros.actions.window import Sample
from csa_ros.ros.actions.window import Sampler
from csa_ros.ros.actions.window import Window
from csa_ros.ros.diagnostics import Statistics
from csa_ros.ros.images import ImageError
from csa_ros.ros.services import MAX_AGE
from csa_ros.ros.services import no_image
from csa_ros.ros.source import ImageSource
from csa_ros.ros.throttling import THROTTLED
from csa_ros.ros.timeline import age_of
from csa_ros.ros.timeline import nanoseconds
from csa_ros.ros.waiting import Promise
from csa_ros.ros.worker import LatestWorker
from csa_ros.teaching.errors import TeachingError
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
import torch

# Windows for which one may lack images before that is said.
_PATIENCE = 3.0


class WatchedCamera(ImageSource):
    """The camera that is watched; `reasons` returns by kind why nothing can be told by it."""

    def __init__(self, node: LifecycleNode, config: ActionsConfig, statistics: Statistics,
                 reasons: Callable[[], dict[str, str]]) -> None:
        super().__init__(node, config.camera.name, config.camera.image, config.transport,
                         config.sensor_bits, statistics)
        self._reasons = reasons

    def doubts(self) -> dict[str, str]:
        """Return what may be wrong with what the camera sends, or with what is asked of it."""
        return {**super().doubts(), **self._reasons()}


class ActionPipeline:
    """
    Names what happens before a camera by the newest configuration and examples.

    `words` are those of the configuration, and `file` is where changes of the examples are kept.
    """

    def __init__(self, node: LifecycleNode, recogniser: Recogniser, words: Words,
                 config: ActionsConfig, examples: ActionExamples, file: ActionsFile,
                 statistics: Statistics) -> None:
        self.recogniser = recogniser
        self.file = file
        # The share of the window that there are images of, from 0 to 1.
        self.filled = 0.0
        self._words_fault = ''
        # Not the node: what is still running after `close` would keep it on the graph.
        self._context = node.context
        self._clock = node.get_clock()
        self._log = node.get_logger()
        self._paused = self._closing = False
        # What is to be in force: one value, as the thread that encodes reads it at any time.
        self._wanted = config, examples
        self._newest = self._snapshot = Snapshot(
            1, words, config.prompts, examples, config.threshold)
        self._sampler = Sampler(config.window, recogniser.frames)
        self._window = Window(config.window, recogniser.frames)
        # When the last answer was given, and since when and why there can be none.
        self._answered = -float('inf')
        self._lacking = ''
        self._lacking_since = 0.0
        self._outputs = ActionOutputs(node)
        self._recorded = RecordedOutput(node)
        self._frames: LatestWorker[Sample] = LatestWorker(
            'recognise', self._process, self._report)
        self._words: LatestWorker[None] = LatestWorker(
            'encode', self._prepare, self._report_change_error, background=True)
        self.cameras = [WatchedCamera(node, config, statistics, self._reasons)]

    @property
    def newest(self) -> Snapshot:
        """Return what is in force, or will be from the next window on."""
        return self._newest

    @property
    def examples(self) -> ActionExamples:
        """Return the examples that are in force, or will be if their words can be encoded."""
        return self._wanted[1]

    @property
    def config(self) -> ActionsConfig:
        """Return the configuration that is in force, or will be if its words can be encoded."""
        return self._wanted[0]

    @property
    def fault(self) -> str:
        """Return what went wrong last and still holds."""
        return self._words_fault or self.file.fault

    def check(self, config: ActionsConfig) -> None:
        """Raise ValueError if a configuration does not fit the model."""
        self.recogniser.check(config.actions, config.prompts)

    def activate(self) -> None:
        """Say what is known, now that publishing is possible, and listen to the camera."""
        self._paused = False
        self._frames.call(self._tell)
        camera, = self.cameras
        camera.listen(self.offer)

    def offer(self, image: Image | CompressedImage) -> None:
        """
        Take an image; of each part of the window the first one is looked at.

        While nobody listens it is kept as it is, so that the window can be recorded, and whoever
        begins to listen need not wait for a new one.
        """
        camera, = self.cameras
        camera.statistics.received()
        stamp, runs = nanoseconds(image.header.stamp), self._sampler.runs
        taken = self._sampler.take(stamp)
        if self._sampler.runs != runs and self._sampler.reason:
            self._log.warning(f'{self._sampler.reason}: the window starts over', **THROTTLED)
        if not taken:
            return
        sample = Sample(self._sampler.runs, stamp, image, time.monotonic())
        if not self._outputs.wanted() or not self._newest.words.names:
            camera.statistics.idle()
            self._frames.call(partial(self._keep, sample))
        elif self._frames.offer(sample):
            camera.statistics.dropped()

    def change(self, config: ActionsConfig) -> None:
        """
        Bring another configuration into force, as a whole, once its words are encoded.

        Windows are judged by the old one until then.
        """
        old, self._wanted = self.config, (config, self.examples)
        camera, = self.cameras
        if config.window != old.window:
            self._sampler = Sampler(config.window, self.recogniser.frames, self._sampler.runs)
            window = Window(config.window, self.recogniser.frames)
            self._frames.call(partial(setattr, self, '_window', window))
        self._frames.call(partial(camera.change_bits, config.sensor_bits))
        self._words.offer(None)

    def demonstrate(self, name: str, promise: Promise) -> None:
        """Promise what the model sees of an action in the last window."""
        self._frames.call(lambda: promise.keep(lambda: self._demonstrate(name)))

    def bring(self, config: ActionsConfig, examples: ActionExamples, promise: Promise) -> None:
        """
        Bring a configuration and examples into force, as one, and keep the examples.

        Promises the snapshot that has them, which windows are then judged by.
        """
        self._wanted = config, examples

        def bring() -> None:
            self._prepare()
            snapshot = self._newest
            if snapshot.examples is examples:
                self.file.save(examples)
                self._frames.call(lambda: promise.keep(lambda: snapshot))
            else:
                promise.fail(TeachingError(self._words_fault))

        self._words.call(bring)

    def take_back(self, examples: ActionExamples) -> None:
        """Want these examples again, after others could not be brought into force."""
        self._wanted = self.config, examples

    def pause(self, timeout: float) -> bool:
        """Stop listening and forget what was seen; return whether what ran ended in time."""
        camera, = self.cameras
        camera.stop_listening()
        self._paused = True
        ended = self._frames.flush(timeout)
        self._frames.call(camera.forget)
        self._frames.call(self._window.clear)
        return ended

    def close(self, timeout: float) -> None:
        """End the threads and free the model."""
        camera, = self.cameras
        camera.stop_listening()
        self._closing = True
        ended = [worker.stop(timeout) for worker in (self._words, self._frames)]
        if not all(ended):
            self._log.warning('work in progress goes on for a while after cleanup')
        camera.destroy()
        self._outputs.destroy()
        self._recorded.destroy()
        self.cameras = []
        # What is still running may hold on to the pipeline, but not to the model.
        del self.recogniser, self._snapshot, self._newest, self._window
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _keep(self, sample: Sample) -> None:
        self._window.add(sample)
        self.filled = self._window.filled

    def _process(self, samples: list[Sample]) -> None:
        for sample in samples:
            self._keep(sample)
            if not self._look(sample):
                continue
            self._lack(self._window.explain())
            if not self._lacking and self._is_due():
                self._judge()

    def _is_due(self) -> bool:
        """Return whether max_rate has room for an answer, give or take half a frame."""
        config = self.config
        if not config.max_rate:
            return True
        part = config.window / self._window.frames
        return time.monotonic() - self._answered > 1 / config.max_rate - part / 2

    def _judge(self) -> None:
        """Say what the window shows; frames that nobody wanted until now are looked at."""
        chosen, snapshot = self._window.choose(), self._snapshot
        camera, newest = self.cameras[0], chosen[-1]
        if not all(self._look(sample) for sample in chosen):
            return
        self._answered = time.monotonic()
        try:
            probabilities = self.recogniser.recognise(
                [sample.seen for sample in chosen], snapshot.words, snapshot.shown)
            self._outputs.publish(
                newest.image.header, dict(zip(snapshot.words.names, map(float, probabilities))),
                snapshot.threshold)
        except Exception as error:
            self._report(error)
            return
        camera.statistics.published(
            time.monotonic() - newest.arrival, age_of(newest.image.header.stamp, self._clock))

    def _look(self, sample: Sample) -> bool:
        """Look at a frame unless it was; return whether it could be."""
        if self._paused or self._closing:
            return False
        if sample.seen is not None:
            return True
        try:
            sample.seen = self.recogniser.observe(self.cameras[0].convert(sample.image))
        except Exception as error:
            self._window.drop(sample)
            self._report(error)
        return sample.seen is not None

    def _lack(self, reason: str) -> None:
        """Note since when a window is not full, and why."""
        if reason and not self._lacking:
            self._lacking_since = time.monotonic()
        self._lacking = reason

    def _reasons(self) -> dict[str, str]:
        """Return by kind why nothing can be told."""
        found = {}
        if not self._newest.words.names:
            found['actions'] = ('there is nothing to recognise: set the parameter actions, or '
                                'action_name and call ~/record')
        if self._sampler.stands_still:
            found['stamps'] = ('the stamps of the images stand still, and windows are measured by '
                               'them: let the camera stamp each image')
        elif self._lacking and self._outputs.wanted() and (
                time.monotonic() - self._lacking_since > _PATIENCE * self.config.window):
            found['window'] = (f'{self._lacking}: this camera or machine is too slow for it; make '
                               'window longer, or take a smaller model')
        return found

    def _demonstrate(self, name: str) -> Demonstration:
        newest, reason = self._window.newest, self._window.explain()
        if not newest:
            raise TeachingError(no_image())
        age = time.monotonic() - newest.arrival
        if age > MAX_AGE:
            raise TeachingError(f'the newest image is {age:.0f} s old, more than {MAX_AGE:.0f} s: '
                                'let the camera send some, and show the action again')
        if reason:
            raise TeachingError(f'{reason}: let the camera run for so long before the action is '
                                'over, and call ~/record again')
        chosen = self._window.choose()
        if not all(self._look(sample) for sample in chosen):
            raise TeachingError('an image of the window could not be used, see the log: show the '
                                'action again')
        camera = self.cameras[0]
        return Demonstration(
            self.recogniser.demonstrate([sample.seen for sample in chosen], name),
            self.recogniser.fingerprint,
            camera.image_input.topic if camera.image_input else '', newest.stamp,
            filmstrip([camera.convert(sample.image) for sample in chosen]), self.recogniser.name)

    def _prepare(self, _: object = None) -> None:
        config, examples = self._wanted
        old = self._newest
        newest = replace(old, threshold=config.threshold)
        if (config.actions, config.prompts) == (old.words.names, old.prompts):
            self._words_fault = ''
            newest = replace(newest, examples=examples)
        elif words := self._encode(config):
            self._words_fault = ''
            newest = replace(newest, words=words, prompts=config.prompts, examples=examples)
        if (newest.words, newest.examples) != (old.words, old.examples):
            newest = replace(newest, version=old.version + 1)
        self._newest = newest
        self._frames.call(partial(self._adopt, newest))

    def _encode(self, config: ActionsConfig) -> Words | None:
        """Return the words of a configuration, None if they cannot be had."""
        try:
            with cancellable(lambda: self._closing):
                return self.recogniser.encode(config.actions, config.prompts)
        except Cancelled:
            pass
        except Exception as error:
            self._words_fault = f'the new words are not in force: {_describe(error)}'
            self._log.error(f'{self._words_fault}. The old ones stay; set actions or prompts '
                            'again')
        return None

    def _adopt(self, snapshot: Snapshot) -> None:
        old, self._snapshot = self._snapshot, snapshot
        if snapshot.version != old.version:
            counts = snapshot.examples.counts
            self._log.info(f'actions, version {snapshot.version}, with their examples: ' + (
                ', '.join(f'{name} ({counts.get(name, 0)})' for name in snapshot.words.names)
                or 'none'))
            self._tell()

    def _tell(self) -> None:
        names = self._snapshot.words.names
        if len(names) == 1:
            self._log.warning(
                f'{names[0]} is the only action, and with nothing else to be likely it always is '
                'what is said: name or record what is not it as well')
        self._recorded.publish(self._snapshot, str(self.file.path or ''))

    def _report(self, error: Exception) -> None:
        """Count and log what failed."""
        if self._closing or not self._context.ok():
            return  # nothing can be published while the process shuts down
        statistics = self.cameras[0].statistics
        if isinstance(error, ImageError):
            statistics.bad(str(error))
            self._log.error(f'image dropped: {error}', **THROTTLED)
            return
        if isinstance(error, torch.cuda.OutOfMemoryError):
            # Another process may need it.
            torch.cuda.empty_cache()
        statistics.failed(_describe(error))
        self._log.error(f'frame failed: {_describe(error)}', **THROTTLED)

    def _report_change_error(self, error: Exception) -> None:
        self._words_fault = f'a change of parameters failed: {_describe(error)}'
        self._log.error(self._words_fault)


def _describe(error: Exception) -> str:
    """Return the message alone where it is written for users, and the type where it is not."""
    return str(error) if isinstance(error, ValueError) else f'{type(error).__name__}: {error}'
