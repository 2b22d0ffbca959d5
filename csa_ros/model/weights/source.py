"""
What a model string names, and where on this machine its weights are.

Nothing here uses the network. Weights are read only where nothing else tells their architecture.
"""

from dataclasses import dataclass
from dataclasses import replace
import json
import os
from pathlib import Path
import re
import warnings

from csa_ros.model import wordpiece
from csa_ros.model.errors import ModelError
from csa_ros.model.towers.architecture import did_you_mean
from csa_ros.model.towers.architecture import fitting
from csa_ros.model.towers.architecture import why_unusable
from csa_ros.model.weights import files
from csa_ros.model.weights.catalogue import GROUPVIT
from csa_ros.model.weights.catalogue import GROUPVIT_PRESETS
from csa_ros.model.weights.catalogue import PRESETS
from csa_ros.model.weights.catalogue import RADIO_PRESETS
from csa_ros.model.weights.checkpoint import advice
from csa_ros.model.weights.checkpoint import read_weights
from csa_ros.model.weights.checkpoint import Weights
from csa_ros.model.weights.description import describe
from huggingface_hub import try_to_load_from_cache
import open_clip
from open_clip.constants import HF_SAFE_WEIGHTS_NAME
from open_clip.constants import HF_WEIGHTS_NAME
from open_clip.constants import OPENAI_DATASET_MEAN
from open_clip.constants import OPENAI_DATASET_STD

DEMO = 'demo'
DEMO_WEIGHTS = Path(__file__).parents[2] / 'demo' / 'weights'
# Where open_clip keeps weights that it fetches from a plain URL.
URL_CACHE = '~/.cache/clip'
GRAMMAR = ("'demo', 'demo:/path/to/weights', 'ARCH/TAG' (such as 'ViT-B-16-quickgelu/openai'), "
           "'ARCH:/path/to/weights', 'PRESET', 'PRESET:/path/to/weights' or '/path/to/folder' "
           "('ros2 run csa_ros fetch_model --list' lists the presets)")
# What a path begins with that stands alone: `ViT-B-16/openai` is none.
_PATH = ('/', './', '../', '~')

# A value for each of red, green and blue.
Channels = tuple[float, float, float]


@dataclass(frozen=True)
class Source:
    """
    What a model string names, before any weights are read.

    `config` is open_clip's model config with the right activation. At most one of these is set:
    `path` (a local file or folder), `pretrained` (open_clip's entry for a tag, with `hf_hub` and
    `url`) and `file` (repository and path of a file of the Hugging Face hub); if none is, people
    fetch the weights by hand, from `page`. `short_side` and `stride` are None for SCLIP's choice.
    """

    name: str
    config: dict
    mean: Channels
    std: Channels
    path: Path | None = None
    pretrained: dict | None = None
    file: tuple[str, str] | None = None
    page: str = ''
    short_side: int | None = None
    stride: int | None = None


def parse_model(model: str) -> Source:
    """
    Return what a model string names, without looking for weights.

    Raises ModelError for a malformed string, an unknown preset, architecture or tag (with the
    closest names), an architecture that cannot be used (with the reason), and a path alone that
    says nothing about the architecture.
    """
    if model.startswith(_PATH):
        return _checked(model, _parse_path(model))
    match = re.fullmatch(r'([^:/]+)(?:([:/])(.+))?', model)
    name, separator, rest = match.groups(default='') if match else ('', '', '')
    if name == DEMO and separator != '/':
        return _parse_demo(model, rest)
    if name in PRESETS and separator != '/':
        return _parse_preset(model, name, rest)
    if name in _others() and separator != '/':
        raise ModelError(f'{model} is no CLIP, whose towers learn together: take a model that is '
                         'one, such as demo or openai-b16')
    if not separator or name in (DEMO, *PRESETS, *_others()):
        hint = did_you_mean(name, [DEMO, *PRESETS, *_others()])
        raise ModelError(f'model {model!r} is not understood{hint}: write {GRAMMAR}')
    config = _known_config(name)
    if separator == ':':
        source = Source(model, config, *_usual_preprocessing(name),
                        path=Path(os.path.expanduser(rest)))
    else:
        pretrained = _known_tag(name, rest)
        # The trap: the weights of a tag fit an architecture with the other activation, and
        # open_clip builds that with only a warning. The tag knows how it was trained.
        config['quick_gelu'] = bool(pretrained.get('quick_gelu'))
        source = Source(model, config, pretrained['mean'], pretrained['std'],
                        pretrained=pretrained)
    return _checked(name, source)


def find_weights(source: Source) -> Path:
    """
    Return the file with the weights of a source, or the index of several.

    Raises ModelError if it is not on this machine.
    """
    if source.path is not None:
        return _find_file(source.name, source.path)
    path = _find_in_cache(source)
    if path is not None:
        return path
    if source.page:
        raise ModelError(f'the weights of {source.name!r} are downloaded by hand, from '
                         f"{source.page}: then name the file, as in '{source.name}:/path/to/file'")
    raise ModelError(f'the weights of {source.name!r} are not on this machine, and loading never '
                     f'uses the network. {_how_to_fetch(source)}')


def find_word_pieces(source: Source) -> Path:
    """Return the file with the word pieces of CLIPA; ModelError if it is not on this machine."""
    path = wordpiece.find_table()
    if path is None:
        raise ModelError(f'the tokenizer of {source.name!r} is not on this machine, and loading '
                         f'never uses the network. {_how_to_fetch(source)}')
    return path


def settle(source: Source, path: Path, weights: Weights) -> Source:
    """
    Return a source as its weights were trained, which lie at `path`.

    What transformers saves, and every folder, says beside the weights which activation and
    preprocessing belong to them; that holds, whatever the name of the architecture. Where nothing
    is beside them, a warning says what is assumed.
    """
    if source.path is None or not (weights.from_transformers or source.path.is_dir()):
        return source
    description = describe(path.parent)
    if description is None:
        if source.name.partition(':')[0] not in PRESETS:
            _say_what_is_assumed(path, bool(source.config.get('quick_gelu')))
        return source
    config = {**source.config, 'quick_gelu': bool(description.config.get('quick_gelu'))}
    for tower in ('vision_cfg', 'text_cfg'):
        arguments = description.config[tower].get('act_kwargs')
        if arguments:
            config[tower] = {**config[tower], 'act_kwargs': arguments}
    return replace(source, config=config, mean=description.mean or source.mean,
                   std=description.std or source.std)


def _find_file(name: str, path: Path) -> Path:
    if path.is_dir():
        return files.find_file(path)
    if not path.is_file():
        raise ModelError(f'model {name!r}: there is no file {path}')
    return path


def _parse_path(model: str) -> Source:
    """Return the source of a path alone."""
    path = Path(os.path.expanduser(model))
    file = _find_file(model, path)
    description = describe(file.parent)
    if description is not None:
        return Source(model, description.config, description.mean or OPENAI_DATASET_MEAN,
                      description.std or OPENAI_DATASET_STD, path=path)
    weights = read_weights(file)
    names = fitting(weights.by_name)
    quick = [name for name in names if name.endswith('-quickgelu')]
    if weights.from_transformers and quick:
        # As transformers assumes, and OpenAI's models on the hub have it.
        names = quick
    if len(names) != 1:
        raise ModelError(f'model {model!r}: nothing beside the file says how its weights were '
                         f'trained. {advice(weights.by_name)}')
    return Source(model, _known_config(names[0]), *_usual_preprocessing(names[0]), path=path)


def _say_what_is_assumed(path: Path, quick_gelu: bool) -> None:
    activation, other, name = (('QuickGELU', 'GELU', 'ARCH') if quick_gelu
                               else ('GELU', 'QuickGELU', 'ARCH-quickgelu'))
    warnings.warn(f'{path} does not tell its activation, and no config.json is beside it: '
                  f'{activation} is assumed. If it was trained with {other}, write '
                  f'{name}:{path}, or put its config.json beside it', stacklevel=3)


def _checked(name: str, source: Source) -> Source:
    reason = why_unusable(source.config)
    if reason:
        raise ModelError(f'{name} cannot be used: {reason}. Use a plain vision '
                         "transformer, such as 'ViT-B-16-quickgelu/openai'")
    return source


def prefix_for_files(source: Source) -> str:
    """
    Return what to write before the path of a file with other weights of a source's model.

    An architecture that is loaded by a tag may have another activation, or want other pixels, than
    the one of the same name without a tag. Raises ModelError if none is like it.
    """
    name = re.split('[/:]', source.name)[0]
    plain = name.removesuffix('-quickgelu')
    for prefix in (name, f'{plain}-quickgelu', plain, *PRESETS):
        try:
            other = parse_model(f'{prefix}:weights')
        except ModelError:
            continue
        if _recipe(other) == _recipe(source):
            return prefix
    raise ModelError(f'no model that can be named before the path of a file is like '
                     f'{source.name!r}: start from one of its architecture that is listed by '
                     "'ros2 run csa_ros fetch_model --list'")


def _recipe(source: Source) -> tuple:
    """Return all that a file of weights does not say."""
    config = {**source.config, 'quick_gelu': bool(source.config.get('quick_gelu'))}
    return config, source.mean, source.std, source.short_side, source.stride


def _parse_demo(model: str, path: str) -> Source:
    try:
        document = json.loads((DEMO_WEIGHTS / 'open_clip_config.json').read_text())
    except OSError as error:
        raise ModelError(f'the bundled demo model cannot be read ({error}): reinstall csa_ros, '
                         'or make it with python -m csa_ros.demo.train') from error
    preprocess = document['preprocess_cfg']
    file = Path(os.path.expanduser(path)) if path else DEMO_WEIGHTS / 'model.safetensors'
    return Source(model, document['model_cfg'], tuple(preprocess['mean']),
                  tuple(preprocess['std']), path=file,
                  short_side=document['short_side'], stride=document['stride'])


def _parse_preset(model: str, name: str, path: str) -> Source:
    preset = PRESETS[name]
    config, pretrained = open_clip.get_model_config(preset.architecture), preset.pretrained
    if not config or not pretrained:
        raise ModelError(f'preset {name!r} is {preset.model}, which open_clip '
                         f'{open_clip.__version__} does not know yet: install a newer one, with '
                         'pip install -U open_clip_torch')
    config.setdefault('quick_gelu', False)
    source = Source(model, config, pretrained['mean'], pretrained['std'])
    if path:
        return replace(source, path=Path(os.path.expanduser(path)))
    return replace(source, pretrained=pretrained if preset.tag else None, file=preset.file,
                   page=preset.by_hand)


def _others() -> tuple[str, ...]:
    """Return the names of models that are no CLIPs, and are loaded in ways of their own."""
    return (*RADIO_PRESETS, GROUPVIT, *GROUPVIT_PRESETS)


def _known_config(architecture: str) -> dict:
    config = open_clip.get_model_config(architecture)
    if config is None:
        hint = did_you_mean(architecture,
                            [*PRESETS, *_others(), *open_clip.list_models()])
        raise ModelError(f'open_clip knows no architecture {architecture!r}{hint}: '
                         f'write {GRAMMAR}')
    return config


def _usual_preprocessing(architecture: str) -> tuple[Channels, Channels]:
    """Return mean and deviation of all tags of an architecture; OpenAI's where they differ."""
    entries = [open_clip.get_pretrained_cfg(architecture, tag)
               for tag in open_clip.list_pretrained_tags_by_model(architecture)]
    found = {(tuple(entry['mean']), tuple(entry['std'])) for entry in entries}
    return found.pop() if len(found) == 1 else (OPENAI_DATASET_MEAN, OPENAI_DATASET_STD)


def _known_tag(architecture: str, tag: str) -> dict:
    pretrained = open_clip.get_pretrained_cfg(architecture, tag)
    if not pretrained:
        tags = open_clip.list_pretrained_tags_by_model(architecture)
        choices = (f'its tags are {", ".join(tags)}' if tags
                   else f'it has none; name a file, as in {architecture}:/path/to/weights')
        raise ModelError(f'{architecture} has no weights tagged {tag!r} in open_clip'
                         f'{did_you_mean(tag, tags)}: {choices}')
    return pretrained


def _how_to_fetch(source: Source) -> str:
    return (f"Fetch them beforehand with 'ros2 run csa_ros fetch_model {source.name}' or "
            f"'python -m csa_ros.tools.fetch_model {source.name}', or use model:=demo, which is "
            'bundled and works offline')


def _find_in_cache(source: Source) -> Path | None:
    if source.file is not None:
        path = try_to_load_from_cache(*source.file)
        return Path(path) if isinstance(path, str) else None
    if source.pretrained is None:
        return None
    return _find_in_hub_cache(source.pretrained) or _find_in_url_cache(source.pretrained)


def _find_in_hub_cache(pretrained: dict) -> Path | None:
    # The order is open_clip's: safetensors first, then the name in its table.
    repository, _, filename = pretrained.get('hf_hub', '').rpartition('/')
    if not repository:
        return None
    filename = filename or HF_WEIGHTS_NAME
    safe = (HF_SAFE_WEIGHTS_NAME if filename == HF_WEIGHTS_NAME
            else str(Path(filename).with_suffix('.safetensors')))
    for candidate in (safe, filename):
        path = try_to_load_from_cache(repository, candidate)
        if isinstance(path, str):
            return Path(path)
    return None


def _find_in_url_cache(pretrained: dict) -> Path | None:
    url = pretrained.get('url')
    if not url:
        return None
    path = Path(os.path.expanduser(URL_CACHE), url.rpartition('/')[2])
    return path if path.is_file() else None
