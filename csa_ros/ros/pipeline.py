"""
From images of cameras to published masks: the threads, and the state that they work with.

Three threads take part. The executor's hands over images (`offer`), configurations (`change`) and
what is taught (`look`, `bring`, `tune`), and never waits. One encodes vocabularies, and looks at
what is shown. One segments; it alone chooses the snapshots and publishes, so that a mask and the
legend before it cannot disagree.
"""

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from functools import partial
import gc
import time

from csa_ros.cost import CostError
from csa_ros.drawing.lettering import unspelled
from csa_ros.finding.relevancy import Sought
from csa_ros.parameters.config import Config
from csa_ros.process.cancellation import cancellable
from csa_ros.process.cancellation import Cancelled
from csa_ros.ros.camera import Camera
from csa_ros.ros.diagnostics import Statistics
from csa_ros.ros.images import ImageError
from csa_ros.ros.outputs import ExamplesOutput
from csa_ros.ros.outputs import LegendOutput
from csa_ros.ros.sightings import Seen
from csa_ros.ros.sightings import Sightings
from csa_ros.ros.snapshot import Snapshot
from csa_ros.ros.throttling import LOG_PERIOD
from csa_ros.ros.throttling import THROTTLED
from csa_ros.ros.timeline import age_of
from csa_ros.ros.timeline import nanoseconds
from csa_ros.ros.timeline import Timeline
from csa_ros.ros.waiting import Promise
from csa_ros.ros.worker import LatestWorker
from csa_ros.segmenter import Result
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.settings import Settings
from csa_ros.teaching.errors import TeachingError
from csa_ros.teaching.examples import Examples
from csa_ros.teaching.examples import Look
from csa_ros.teaching.file import ExamplesFile
from csa_ros.teaching.looking import Sight
from csa_ros.teaching.region import check_corners
from csa_ros.teaching.region import Region
from csa_ros.vocabulary import Vocabulary
import numpy as np
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image
import torch

WARM_UP_SIZE = (480, 640)
# Seconds for which a frame is segmented that nobody waits for any more. A frame that takes less is
# let out: changes in quick succession would else leave none.
PATIENCE = 1.0


@dataclass(frozen=True)
class Bookmark:
    """Where the legends of a node are: the last version, and the instant after the last mask."""

    version: int = 0
    after_last_mask: int = 0


@dataclass(frozen=True, eq=False)
class _Frame:
    offer: Seen
    rgb: np.ndarray
    snapshot: Snapshot


def prepare(segmenter: Segmenter, config: Config, examples: Examples,
            warn: Callable[[str], object]) -> tuple[Words, Sought | None]:
    """
    Return the words of a configuration and of examples, and what is sought, all encoded.

    A blank frame was segmented with them, so that the first real one is not slow; `warn` is told
    why there was none. Other errors of the segmenter pass through.
    """
    words = segmenter.encode(config.vocabulary, config.prompts, examples)
    sought = _seek(segmenter, config, words)
    try:
        segmenter.segment(np.zeros((*WARM_UP_SIZE, 3), np.uint8), words, config.settings)
    except CostError as error:
        # Frames of the cameras may be of another shape.
        warn(f'not warmed up: {error}')
    return words, sought


class Pipeline:
    """
    Segments the images of all cameras by the newest configuration.

    `words` and `sought` are those of the configuration and of `examples`, as `prepare` returns
    them; `file` is where changes of the examples are kept. Legends go on from `bookmark`.
    `statistics` are those of the cameras, by name.
    """

    def __init__(self, node: LifecycleNode, segmenter: Segmenter, words: Words, config: Config,
                 examples: Examples, file: ExamplesFile, bookmark: Bookmark,
                 statistics: Mapping[str, Statistics], sought: Sought | None = None) -> None:
        self.segmenter = segmenter
        self.file = file
        self.sightings = Sightings()
        # For the thread that encodes: of one image several regions may be shown.
        self._looked_at: tuple[Seen, Settings, Sight] | None = None
        self._words_fault = ''
        # Not the node: what is still running after `close` would keep it on the graph.
        self._context = node.context
        self._clock = node.get_clock()
        self._log = node.get_logger()
        self._paused = self._closing = False
        # What is to be in force: one value, as the thread that encodes reads it at any time.
        self._wanted = config, examples
        self._newest = self._snapshot = Snapshot.of(
            config, bookmark.version + 1, words, examples, sought=sought)
        self._doubt(config.vocabulary)
        self._timeline: Timeline[Snapshot] = Timeline(bookmark.after_last_mask)
        self._legend = LegendOutput(node)
        self._examples_output = ExamplesOutput(node)
        self._log_times: dict[tuple[str, str], float] = {}
        self._frames = LatestWorker('segment', self._process, self._report_worker_error)
        self.cameras = [
            Camera(node, camera, config, statistics[camera.name], self._frames.call,
                   self._report_depth_error, segmenter.segments > 0)
            for camera in config.cameras]
        self._vocabularies: LatestWorker[None] = LatestWorker(
            'encode', self._prepare, self._report_change_error, background=True)
        self._frames.set_min_period(_period(config))

    @property
    def newest(self) -> Snapshot:
        """Return what is in force, or will be from the next frame on."""
        return self._newest

    @property
    def examples(self) -> Examples:
        """Return the examples that are in force, or will be if their words can be encoded."""
        return self._wanted[1]

    @property
    def fault(self) -> str:
        """Return what went wrong last and still holds."""
        return self._words_fault or self.file.fault

    @property
    def config(self) -> Config:
        """Return the configuration that is in force, or will be if its words can be encoded."""
        return self._wanted[0]

    def check(self, config: Config) -> None:
        """Raise ValueError or ModelError if a configuration fits neither model nor frames."""
        self.segmenter.resolve(config.settings)
        if self.examples and (
                self.segmenter.fingerprint(config.settings) != self.examples.fingerprint):
            raise TeachingError(
                f'{len(self.examples)} examples were seen in other windows than these would be, '
                'and could not be compared any more: call ~/forget for them first, or restart the '
                'node with these windows and another file of examples')
        self.segmenter.check(config.vocabulary, config.prompts, config.find)
        for camera in self.cameras:
            try:
                self._check_frames(camera, config)
            except CostError:
                if config.settings != self.config.settings or self._can_segment(camera):
                    raise
                # What is in force already is no reason to refuse another change.

    def activate(self) -> None:
        """Say what masks mean, now that publishing is possible, and listen to the cameras."""
        self._paused = False
        self._frames.call(self._announce)
        self._frames.call(self._tell_examples)
        self._frames.call(self._tell_thumbnails)
        for camera in self.cameras:
            camera.listen(partial(self.offer, camera))

    def offer(self, camera: Camera, image: Image | CompressedImage) -> None:
        """Take an image; it is segmented unless a newer one comes first or nobody listens."""
        camera.statistics.received()
        camera.follow_points()
        seen = Seen(camera, image, time.monotonic())
        self.sightings.add(seen)
        if self.config.lazy and not camera.wanted():
            camera.statistics.idle()
        elif self._frames.offer(seen, camera.name):
            camera.statistics.dropped()

    def freeze(self, frozen: bool) -> None:
        """Hold the newest image of each camera for who teaches, or let them go."""
        self.sightings.frozen = self.sightings.newest if frozen else {}
        self._frames.call(self._tell_examples)

    def change(self, config: Config) -> None:
        """
        Bring another configuration into force, as a whole, once its words are encoded.

        Frames go on with the old one until then. Of several that wait only the newest is encoded.
        """
        self._wanted = config, self.examples
        self._frames.set_min_period(_period(config))
        for camera in self.cameras:
            self._frames.call(partial(camera.change, config))
        self._vocabularies.offer(None)

    def look(self, seen: Seen, region: Region, promise: Promise) -> None:
        """Promise what the model sees in a region of an image, as `Segmenter.look` returns it."""
        settings = self.config.settings

        def look(rgb: np.ndarray) -> Look:
            check_corners(region, rgb.shape[:2])
            last = self._looked_at
            if last is None or last[0] is not seen or last[1] != settings:
                with cancellable(lambda: self._closing):
                    last = seen, settings, self.segmenter.see(rgb, settings)
                self._looked_at = last
            return last[2].look(region, seen.camera.name, nanoseconds(seen.image.header.stamp))

        def read() -> None:
            # In the thread that all other images of the camera are read in.
            try:
                rgb = seen.camera.convert(seen.image)
            except Exception as error:
                promise.fail(error)
            else:
                self._vocabularies.call(lambda: promise.keep(lambda: look(rgb)))

        self._frames.call(read)

    def bring(self, config: Config, examples: Examples, promise: Promise) -> None:
        """
        Bring a configuration and examples into force, as one, and keep the examples.

        Promises the snapshot that has them, which frames are then segmented with.
        """
        self._wanted = config, examples

        def bring() -> None:
            self._prepare()
            if self._newest.examples is examples:
                self.file.save(examples)
                self._settle(promise)
            else:
                promise.fail(TeachingError(self._words_fault))

        self._vocabularies.call(bring)

    def take_back(self, examples: Examples) -> None:
        """Want these examples again, after others could not be brought into force."""
        self._wanted = self._wanted[0], examples

    def tune(self, promise: Promise) -> None:
        """Let the words learn from the examples; promise the snapshot that has them."""
        def tune() -> None:
            try:
                old = self._newest
                with cancellable(lambda: self._closing):
                    words = self.segmenter.encode(
                        old.vocabulary, old.words.prompts, old.examples)
                    words = self.segmenter.tune(words, old.examples)
            except Exception as error:
                promise.fail(error)
                return
            self._newest = replace(old, words=words, tuned=True)
            self._frames.call(partial(self._adopt, self._newest))
            self._settle(promise)

        self._vocabularies.call(tune)

    def _settle(self, promise: Promise) -> None:
        """Keep a promise with what was handed to the thread that segments, once it is there."""
        snapshot = self._newest
        self._frames.call(lambda: promise.keep(lambda: snapshot))

    def pause(self, timeout: float) -> bool:
        """Stop listening and forget what was seen; return whether what ran ended in time."""
        for camera in self.cameras:
            camera.stop_listening()
        self._paused = True
        ended = self._frames.flush(timeout)
        for camera in self.cameras:
            self._frames.call(camera.forget)
        return ended

    def close(self, timeout: float) -> Bookmark:
        """End the threads and free the model; return where the next pipeline is to go on."""
        for camera in self.cameras:
            camera.stop_listening()
        self._closing = True
        ended = [worker.stop(timeout) for worker in (self._vocabularies, self._frames)]
        if not all(ended):
            self._log.warning('work in progress goes on for a while after cleanup')
        bookmark = Bookmark(self._newest.version, self._timeline.after_last_mask)
        for camera in self.cameras:
            camera.destroy()
        self._legend.destroy()
        self._examples_output.destroy()
        self.sightings, self._looked_at = Sightings(), None
        self.cameras = []
        # What is still running may hold on to the pipeline, but not to the model.
        del self.segmenter, self._snapshot, self._newest, self._timeline
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return bookmark

    def _check_frames(self, camera: Camera, config: Config) -> None:
        if camera.frame_size:
            self.segmenter.check_frame(
                camera.frame_size, config.settings,
                len(config.vocabulary.queries) + len(config.find))

    def _can_segment(self, camera: Camera) -> bool:
        try:
            self._check_frames(camera, self.config)
        except CostError:
            return False
        return True

    def _process(self, offers: list[Seen]) -> None:
        frames = []
        for offer in offers:
            try:
                frames.append(self._prepare_frame(offer))
            except Exception as error:
                self._report_frame_error(offer.camera, error)
        if not frames:
            # An image that cannot be read leaves its turn to the next.
            self._frames.waive_period()
        for batch in _batches(frames):
            self._segment(batch)

    def _prepare_frame(self, offer: Seen) -> _Frame:
        rgb = offer.camera.to_rgb(offer.image)
        height, width = rgb.shape[:2]
        offer.camera.frame_size = height, width
        snapshot, restated = self._timeline.assign(
            offer.camera.name, nanoseconds(offer.image.header.stamp))
        if restated is not None:
            self._legend.publish(self._snapshot, self.segmenter.name, restated)
        return _Frame(offer, rgb, snapshot)

    def _segment(self, batch: Sequence[_Frame]) -> None:
        """Segment and publish frames of one size with one snapshot."""
        results: Sequence[Result] = ()
        failure = None
        try:
            with cancellable(self._pointless(batch[0].snapshot)):
                results = self._label(batch)
        except Cancelled:
            self._put_back(batch)
        except Exception as error:
            # A traceback would hold what the frames held, when the memory is needed.
            failure = error.with_traceback(None)
        if isinstance(failure, torch.cuda.OutOfMemoryError):
            # Another process may need it.
            torch.cuda.empty_cache()
        if failure and len(batch) == 1:
            self._report_frame_error(batch[0].offer.camera, failure)
        elif failure:
            # What one frame breaks, or all of them together, is no reason to lose the others.
            for frame in batch:
                self._segment([frame])
        for frame, result in zip(batch, results):
            try:
                self._publish(frame, result)
            except Exception as error:
                self._report_frame_error(frame.offer.camera, error)

    def _pointless(self, snapshot: Snapshot) -> Callable[[], bool]:
        """Return what tells whether a frame that begins now is in vain."""
        begin = time.monotonic()

        def pointless() -> bool:
            if self._closing:
                return True
            if time.monotonic() - begin < PATIENCE:
                return False
            waiting = self._newest is not self._snapshot
            return self._paused or (waiting and self._newest.settings != snapshot.settings)

        return pointless

    def _put_back(self, batch: Sequence[_Frame]) -> None:
        """Let frames that were given up have another turn with what is in force by then."""
        if self._paused or self._closing:
            return
        for frame in batch:
            camera = frame.offer.camera
            if not self._frames.offer_again(frame.offer, camera.name):
                camera.statistics.dropped()

    def _label(self, batch: Sequence[_Frame]) -> list[Result]:
        snapshot = batch[0].snapshot
        wanted = any(frame.offer.camera.outputs.overlay_wanted() for frame in batch)
        alpha = snapshot.overlay_alpha if wanted else None
        seeking = any(frame.offer.camera.found.relevancy_wanted() for frame in batch)
        sought = snapshot.sought if seeking else None
        segments = any(frame.offer.camera.outputs.segments_wanted() for frame in batch)
        if len(batch) == 1 or snapshot.settings.reuse_threshold:
            # A memory is of one camera, and spares it more than a batch would.
            return [self.segmenter.segment(
                frame.rgb, snapshot.words, snapshot.settings, overlay_alpha=alpha,
                memory=frame.offer.camera.memory, sought=sought, segments=segments)
                for frame in batch]
        for frame in batch:
            # It does not see this frame, and could not tell the age of what it holds.
            frame.offer.camera.memory.clear()
        return self.segmenter.submit([frame.rgb for frame in batch], snapshot.words,
                                     snapshot.settings, alpha, sought, segments).result()

    def _publish(self, frame: _Frame, result: Result) -> None:
        offer, camera = frame.offer, frame.offer.camera
        camera.publish(offer.image.header, frame.rgb, result, frame.snapshot)
        camera.statistics.published(time.monotonic() - offer.arrival, age_of(
            offer.image.header.stamp, self._clock))

    def _prepare(self, _: object = None) -> None:
        config, examples = self._wanted
        old = self._newest
        known = old.words, old.examples, old.tuned
        if (config.vocabulary, config.prompts, examples) == (
                old.vocabulary, old.words.prompts, old.examples):
            self._words_fault = ''
        elif words := self._encode(config, examples):
            self._words_fault = ''
            known = words, examples, False
        newest = Snapshot.of(config, old.version, *known, self._seek(config, known[0]))
        if (newest.vocabulary, newest.taught) != (old.vocabulary, old.taught):
            newest = replace(newest, version=old.version + 1)
        self._newest = newest
        # Here and not in the thread of the frames: a hundred colours take a moment.
        _ = self._newest.vocabulary.colors
        self._frames.call(partial(self._adopt, self._newest))

    def _seek(self, config: Config, words: Words) -> Sought | None:
        """Return what is sought beside words, that which was sought before if it cannot be had."""
        try:
            with cancellable(lambda: self._closing):
                return _seek(self.segmenter, config, words)
        except Cancelled:
            pass
        except Exception as error:
            self._words_fault = f'find is not in force: {_describe(error)}'
            self._log.error(f'{self._words_fault}. The old phrases stay; set find again')
        return self._newest.sought

    def _encode(self, config: Config, examples: Examples) -> Words | None:
        """Return the words of a configuration and of examples, None if they cannot be had."""
        try:
            with cancellable(lambda: self._closing):
                return self.segmenter.encode(config.vocabulary, config.prompts, examples)
        except Cancelled:
            pass
        except Exception as error:
            self._words_fault = f'the new words are not in force: {_describe(error)}'
            self._log.error(f'{self._words_fault}. The old ones stay; set vocabulary or prompts '
                            'again')
        return None

    def _adopt(self, snapshot: Snapshot) -> None:
        old, self._snapshot = self._snapshot, snapshot
        if (snapshot.version, snapshot.settings.unknown_threshold) != (
                old.version, old.settings.unknown_threshold):
            self._announce()
        else:
            self._timeline.replace(snapshot)
        if _phrases(snapshot) != _phrases(old):
            self._log.info(f'to be found: {", ".join(_phrases(snapshot)) or "nothing"}')
        if (snapshot.examples, snapshot.tuned) != (old.examples, old.tuned) or (
                snapshot.version != old.version):
            self._tell_examples()
        if snapshot.examples is not old.examples:
            self._tell_thumbnails()
        if snapshot.version != old.version:
            self._log.info(f'vocabulary version {snapshot.version}: '
                           f'{", ".join(snapshot.words.vocabulary.names)}')
            self._doubt(snapshot.words.vocabulary)

    def _doubt(self, vocabulary: Vocabulary) -> None:
        """Say of new words what their user may not have meant."""
        names = unspelled(vocabulary.names)
        if vocabulary.doubt:
            self._log.warning(vocabulary.doubt)
        if names:
            self._log.warning(
                f'the colour key shows {", ".join(names[:3])}{" ..." * (len(names) > 3)} as #id, '
                'since no font of this machine has the letters; install one that has, such as '
                'the package fonts-noto-cjk or fonts-noto')

    def _tell_examples(self) -> None:
        self._examples_output.publish(
            self._snapshot, str(self.file.path or ''),
            {camera: seen.image.header.stamp for camera, seen in self.sightings.frozen.items()})

    def _tell_thumbnails(self) -> None:
        self._examples_output.publish_thumbnails(self._snapshot.examples)

    def _announce(self) -> None:
        self._legend.publish(
            self._snapshot, self.segmenter.name, self._timeline.change(self._snapshot))

    def _report_worker_error(self, error: Exception) -> None:
        """Log what no frame is to blame for."""
        if self._context.ok():
            self._log.error(_describe(error), **THROTTLED)

    def _report_frame_error(self, camera: Camera, error: Exception) -> None:
        if not self._context.ok():
            return  # nothing can be published while the process shuts down
        if isinstance(error, ImageError):
            camera.statistics.bad(str(error))
            self._complain(camera, 'image dropped', str(error))
        else:
            camera.statistics.failed(_describe(error))
            self._complain(camera, 'frame failed', _describe(error))

    def _report_depth_error(self, camera: Camera, error: Exception) -> None:
        if self._context.ok():
            camera.statistics.bad_depth(str(error))
            self._complain(camera, 'no points', str(error))

    def _complain(self, camera: Camera, what: str, reason: str) -> None:
        """Log what went wrong, at most once in LOG_PERIOD for each camera and kind of fault."""
        # The throttle of rclpy knows lines of code alone: one camera would silence the others.
        now = time.monotonic()
        if now - self._log_times.get((camera.name, what), -LOG_PERIOD) >= LOG_PERIOD:
            self._log_times[camera.name, what] = now
            self._log.error(f'{camera.name}: {what}: {reason}' if camera.name else
                            f'{what}: {reason}')

    def _report_change_error(self, error: Exception) -> None:
        self._words_fault = f'a change of parameters failed: {_describe(error)}'
        self._log.error(self._words_fault)


def _batches(frames: Sequence[_Frame]) -> list[list[_Frame]]:
    """Group frames that can be segmented as one batch, keeping their order."""
    batches: dict[tuple, list[_Frame]] = {}
    for frame in frames:
        batches.setdefault((frame.rgb.shape, id(frame.snapshot)), []).append(frame)
    return list(batches.values())


def _seek(segmenter: Segmenter, config: Config, words: Words) -> Sought | None:
    return segmenter.seek(config.find, words, config.prompts) if config.find else None


def _phrases(snapshot: Snapshot) -> tuple[str, ...]:
    return snapshot.sought.phrases if snapshot.sought else ()


def _period(config: Config) -> float:
    return 1 / config.max_rate if config.max_rate else 0.0


def _describe(error: Exception) -> str:
    """Return the message alone where it is written for users, and the type where it is not."""
    return str(error) if isinstance(error, CostError) else f'{type(error).__name__}: {error}'
