"""
A training in steps, which leaves its weights in a file OUT.

    OUT              weights of the last part that was done, as safetensors
    OUT.state        what the same training goes on from, until it is done
    OUT.json         what was done, and the figures after each part

A process may be killed at any moment. The next goes on from the last state, and on a CPU what it
leaves is, to the bit, what it would have left without a break.
"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Mapping
import json
from pathlib import Path
import time
from typing import Any
from typing import Generic
from typing import TypeVar

from csa_ros.training.checkpoint import read_state
from csa_ros.training.checkpoint import write_state
from csa_ros.training.checkpoint import write_text
from csa_ros.training.errors import TrainingError
from tqdm import tqdm

Given = TypeVar('Given')


class Resumable(Generic[Given]):
    """
    A training of so many `steps`, each called a `unit`, whose weights go to the file `out`.

    `recipe` is all that what it leaves depends on: a state of another one is refused. Between the
    parts, the state is written every `save_seconds`.
    """

    unit = 'step'

    def __init__(self, out: Path, recipe: Mapping[str, Any], steps: int, save_seconds: float
                 ) -> None:
        self._out, self._recipe = out, dict(recipe)
        self._steps, self._save_seconds = steps, save_seconds
        self._step, self._losses = 0, 0.0
        self._history: list[dict[str, Any]] = []

    @property
    def state_path(self) -> Path:
        """Return the file that holds the state until the training is done."""
        return self._out.with_name(f'{self._out.name}.state')

    @property
    def report_path(self) -> Path:
        """Return the file that holds the figures as the training went on."""
        return self._out.with_name(f'{self._out.name}.json')

    def run(self, say: Callable[[str], None]) -> None:
        """
        Train from where an earlier process was ended to the end, and `say` how it goes.

        Raises TrainingError for what cannot go on; what was written before stays as it is.
        """
        state = read_state(self.state_path, self._recipe)
        if state is None:
            if self._out.exists():
                raise TrainingError(f'--out {self._out} is there already: name another file, or '
                                    'remove it')
            self._begin()
            self._measure(say)
        else:
            self._step, self._losses = state['step'], state['losses']
            self._history = json.loads(state['history'])
            self._restore(state)
            say(f'goes on from {self.unit} {self._step} of {self._steps}')
        saved = time.monotonic()
        # Without a terminal (disable=None) a bar would fill a log.
        with tqdm(total=self._steps, initial=self._step, unit=self.unit, disable=None) as bar:
            for given in self._left():
                self._losses += self._learn(given)
                self._step += 1
                bar.update()
                if self._ends_part():
                    self._end_part(say)
                    saved = time.monotonic()
                elif time.monotonic() - saved > self._save_seconds:
                    self._save()
                    saved = time.monotonic()
        # Again if a process was ended between the last state and these.
        self._write()
        self.state_path.unlink(missing_ok=True)

    def _begin(self) -> None:
        """Do what comes before the first step, and in no process that goes on."""

    def _left(self) -> Iterable[Given]:
        """Return what each step that is left is given."""
        raise NotImplementedError

    def _learn(self, given: Given) -> float:
        """Do a step, and return its loss; raise TrainingError if there is none."""
        raise NotImplementedError

    def _ends_part(self) -> bool:
        """Return whether the model is to be measured and kept after this step."""
        raise NotImplementedError

    def _figures(self) -> dict[str, Any]:
        """Return how good the model is now."""
        raise NotImplementedError

    def _describe(self, entry: dict[str, Any]) -> str:
        """Return an entry of the history as a line."""
        raise NotImplementedError

    def _state(self) -> dict[str, Any]:
        """Return what else the state has."""
        raise NotImplementedError

    def _restore(self, state: dict[str, Any]) -> None:
        """Take it over again."""
        raise NotImplementedError

    def _write_weights(self) -> None:
        """Write the file `out`, as a whole."""
        raise NotImplementedError

    def _end_part(self, say: Callable[[str], None]) -> None:
        self._measure(say)
        self._save()
        self._write()

    def _measure(self, say: Callable[[str], None]) -> None:
        """Add a line to the history, and say it."""
        entry = self._figures()
        self._losses = 0.0
        self._history.append(entry)
        say(self._describe(entry))

    def _save(self) -> None:
        write_state(self.state_path, self._recipe, {
            'step': self._step, 'losses': self._losses, 'history': json.dumps(self._history),
            **self._state()})

    def _write(self) -> None:
        self._write_weights()
        report = {**self._recipe, 'history': self._history}
        write_text(self.report_path, json.dumps(report, indent=1) + '\n')
