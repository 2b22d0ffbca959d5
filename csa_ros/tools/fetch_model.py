"""Fetch the weights of a model beforehand, so that the node can load them without a network."""

from collections.abc import Callable
from pathlib import Path
import sys

from csa_ros.choices import DEFAULT_MODEL
from csa_ros.model import wordpiece
from csa_ros.model.errors import ModelError
from csa_ros.model.towers.architecture import needs_word_pieces
from csa_ros.model.weights import groupvit_source
from csa_ros.model.weights import hub
from csa_ros.model.weights.catalogue import GROUPVIT_LICENCE
from csa_ros.model.weights.catalogue import GROUPVIT_PRESETS
from csa_ros.model.weights.catalogue import PRESETS
from csa_ros.model.weights.catalogue import RADIO_LICENCE
from csa_ros.model.weights.catalogue import RADIO_PRESETS
from csa_ros.model.weights.groupvit_source import parse_groupvit
from csa_ros.model.weights.radio_fetch import fetch_radio
from csa_ros.model.weights.radio_source import is_here
from csa_ros.model.weights.radio_source import locate
from csa_ros.model.weights.radio_source import own_file
from csa_ros.model.weights.radio_source import parse_radio
from csa_ros.model.weights.source import DEMO
from csa_ros.model.weights.source import find_weights
from csa_ros.model.weights.source import find_word_pieces
from csa_ros.model.weights.source import parse_model
from csa_ros.model.weights.source import Source
from csa_ros.tools.arguments.fetch_model import make_parser
import huggingface_hub
import open_clip

COLUMNS = ('preset', 'tower', 'licence', 'mIoU', 'here')
# Millions of parameters of the bundled model's image tower.
DEMO_TOWER = 1.9
DEMO_LICENCE = 'Apache-2.0'
NOTES = f"""
tower    parameters of the image tower
licence  of the weights, as their page had it when this list was made: read it
mIoU     percent: published mean over the eight benchmarks of arXiv 2312.01597
         with attention csa; - where nobody has published it. For c-radio-*
         over the five of them without background, with attention radseg, read
         off a figure of arXiv 2511.19704 to 0.1: csa with openai-b16 has 37.1
here     whether it can be loaded without a network; fetching one says where to
         get those that are downloaded by hand

Fetch one with 'ros2 run csa_ros fetch_model PRESET', and load it with
model:=PRESET; a file of your own with weights of that kind loads with
model:=PRESET:/path/to/file. Those of c-radio-* come from nvidia/RADIO and
google/siglip2-so400m-patch16-naflex, 3.4, 3.9 and 4.7 GB, of which one file of
1.7, 2.1 and 2.8 GB is left. Code and weights of groupvit-* are licensed for
research alone; 223 MB come from nvidia/groupvit-gcc-yfcc. Other pairs of
open_clip go by ARCH/TAG, such as
{DEFAULT_MODEL}."""


def main(args: list[str] | None = None) -> int:
    """Download the weights of one model, or list what is known; return the exit status."""
    arguments = make_parser().parse_args(args)
    if arguments.list:
        print(table())
        return 0
    try:
        fetch(arguments.model)
    except ModelError as error:
        print(f'fetch_model: {error}', file=sys.stderr)
        return 1
    return 0


def fetch(model: str) -> None:
    """
    Download what a model lacks on this machine; ModelError if that fails.

    `model` is `PRESET` or `ARCH/TAG`. A model that cannot be used is refused before anything is
    downloaded.
    """
    radio, groupvit = parse_radio(model), parse_groupvit(model)
    if radio is not None:
        _fetch_radio(*radio)
        return
    if groupvit is not None:
        _fetch_groupvit(*groupvit)
        return
    source = parse_model(model)
    if model in PRESETS:
        preset = PRESETS[model]
        print(f'{model} is {preset.model}, {preset.licence}, {preset.page}')
    try:
        path = find_weights(source)
    except ModelError:
        if source.pretrained is None and source.file is None:
            raise
        _download(model, lambda: _download_weights(source))
        path = find_weights(source)
    if needs_word_pieces(source.config):
        try:
            find_word_pieces(source)
        except ModelError:
            _download(f'the tokenizer of {model}', _download_word_pieces)
            find_word_pieces(source)
    print(f'{model} is at {path} ({path.stat().st_size / 2**20:.0f} MiB)')


def _fetch_radio(name: str, path: Path | None) -> None:
    preset = RADIO_PRESETS[name]
    if path is None:
        print(f'{name} is {preset.name} with SigLIP2, {RADIO_LICENCE}, {preset.page}')
        path = own_file(name)
        if not path.is_file():
            _download(name, lambda: fetch_radio(name), path.parent)
    path = locate(name, path)
    print(f'{name} is at {path} ({_bytes(path) / 2**20:.0f} MiB)')


def _fetch_groupvit(name: str, path: Path | None) -> None:
    preset = GROUPVIT_PRESETS[name]
    if path is None:
        print(f'{name} is {preset.name}, {GROUPVIT_LICENCE}: neither code nor weights may be used '
              f'in products, {preset.page}')
        if not groupvit_source.is_here(name):
            hub.check_reachable()
            _download(name, lambda: huggingface_hub.hf_hub_download(*preset.file))
    path = groupvit_source.locate(name, path)
    print(f'{name} is at {path} ({_bytes(path) / 2**20:.0f} MiB)')


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))


def table() -> str:
    """Return the presets and what is known of each, as text of at most 80 columns."""
    rows = [COLUMNS, (DEMO, f'{DEMO_TOWER:.1f} M', DEMO_LICENCE, '-', 'bundled')]
    for name, preset in PRESETS.items():
        miou = '-' if preset.miou is None else f'{preset.miou:.1f}'
        rows.append((name, f'{preset.tower:.0f} M', preset.licence, miou, _is_here(name)))
    for name, radio in RADIO_PRESETS.items():
        miou = '-' if radio.miou is None else f'{radio.miou:.1f}'
        rows.append((name, f'{radio.tower:.0f} M', RADIO_LICENCE, miou,
                     'yes' if is_here(name) else 'no'))
    for name, groupvit in GROUPVIT_PRESETS.items():
        rows.append((name, f'{groupvit.tower:.0f} M', GROUPVIT_LICENCE, '-',
                     'yes' if groupvit_source.is_here(name) else 'no'))
    widths = [max(map(len, column)) for column in zip(*rows)]
    # Numbers to the right, words to the left.
    lines = ['  '.join((f'{cell:>{width}}' if title in ('tower', 'mIoU') else f'{cell:<{width}}')
                       for title, cell, width in zip(COLUMNS, row, widths)).rstrip()
             for row in rows]
    return '\n'.join(lines) + f'\n{NOTES}'


def _is_here(name: str) -> str:
    try:
        source = parse_model(name)
        find_weights(source)
        if needs_word_pieces(source.config):
            find_word_pieces(source)
    except ModelError:
        return 'by hand' if PRESETS[name].by_hand else 'no'
    return 'yes'


def _download_weights(source: Source) -> None:
    if source.file is not None or (source.pretrained or {}).get('hf_hub'):
        hub.check_reachable()
    if source.file is not None:
        huggingface_hub.hf_hub_download(*source.file)
    else:
        open_clip.download_pretrained(source.pretrained)


def _download_word_pieces() -> None:
    hub.check_reachable()
    wordpiece.fetch_table()


def _download(what: str, download: Callable[[], object], folder: Path | None = None) -> None:
    """Run a download; its errors as ModelError. `folder` as for `hub.remedy`."""
    print(f'fetching {what} ...', flush=True)
    try:
        download()
    except ModelError:
        raise
    except Exception as error:  # noqa: B902 - each transport of the hub client raises its own
        reason = ' '.join(str(error).split()).rstrip('.')
        raise ModelError(
            f'could not download {what}: {reason}. {hub.remedy(error, folder)}') from error


if __name__ == '__main__':
    sys.exit(main())
