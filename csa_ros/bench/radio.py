"""
A RADIO tower beside the CLIP of its size: what each part of a frame costs with either.

Both have random weights, and cut as many windows out of a frame: ViT-B/16 with CSA, and
C-RADIOv3-B with RADSeg's attention. RADIO's frames are enlarged to whole strides, so that a CLIP
has fewer windows of some frames by its own settings: where it has, it is measured with these too.
"""

import argparse
from collections.abc import Callable
from functools import partial

from csa_ros.bench import inputs
from csa_ros.bench.options import DEFAULT_MODEL
from csa_ros.bench.options import RADIO_ROUNDS
from csa_ros.bench.options import TITLES
from csa_ros.bench.targets import in_mib
from csa_ros.bench.targets import in_ms
from csa_ros.bench.targets import Target
from csa_ros.bench.timing import alternate
from csa_ros.bench.timing import expect
from csa_ros.bench.timing import peak_memory
from csa_ros.bench.timing import table
from csa_ros.labels.windows import plan_windows
from csa_ros.labels.windows import WindowPlan
from csa_ros.model.attention.radseg import RadSeg
from csa_ros.model.backbone import Backbone
from csa_ros.model.segments import SegmentEncoder
from csa_ros.model.towers.radio import RadioSizes
from csa_ros.model.towers.radio import RadioTower
from csa_ros.model.towers.radio import RadioVision
from csa_ros.model.weights import catalogue
from csa_ros.segmenter import Segmenter
from csa_ros.segmenter import Words
from csa_ros.settings import ResolvedSettings
from csa_ros.settings import Settings
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

TITLE = TITLES['radio']
CLIP, RADIO = 'ViT-B/16, csa', 'C-RADIOv3-B, radseg'
CLIP_BY_ITSELF = f'{CLIP}, windows of its own'
SIZES = ((640, 480), (1280, 720))
CLASSES = 20
# Those of the head are not in the catalogue: files say them.
_PRESET = catalogue.RADIO_PRESETS['c-radio-v3-b']
TOWER = RadioSizes(
    width=_PRESET.width, layers=_PRESET.layers, heads=_PRESET.heads, hidden=4 * _PRESET.width,
    patch_size=16, table=_PRESET.table, prefix=_PRESET.prefix, head_width=1520, head_layers=2,
    embed_dim=1152)
# What was asked: times that of the CLIP at every size, and the share of a frame of the largest.
FRAME_RATIO, SCGA_SHARE = 1.1, 0.05


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """Time the parts of frames with both towers, in turn; the result is for JSON."""
    with inputs.loaded(DEFAULT_MODEL, options.radio_device, options.radio_precision) as clip:
        device = clip.device
        radio = Segmenter(of_radio(TOWER, clip.backbone))
    rounds = RADIO_ROUNDS[device.type] if options.radio_rounds is None else options.radio_rounds
    return {'device': device.type, 'precision': clip.backbone.arithmetic,
            'threads': torch.get_num_threads(), 'classes': CLASSES,
            'weights': {CLIP: weights_of(clip), RADIO: weights_of(radio)},
            'frames': [row for size in SIZES
                       for row in measure_frames(clip, radio, size, rounds, progress)]}


def of_radio(sizes: RadioSizes, clip: Backbone) -> Backbone:
    """
    Return a RADIO of random weights that differs from a CLIP in nothing but its tower.

    It is for words whose features are given: those that its text tower makes do not fit it.
    """
    torch.manual_seed(0)
    visual = RadioVision(sizes, catalogue.RADIO_IMAGE_SIZE).to(clip.device, clip.dtype)
    return Backbone(
        visual.eval().requires_grad_(False), RadioTower(visual), clip.text, clip.mean, clip.std,
        RADIO, RADIO, catalogue.RADIO_SHORT_SIDE, catalogue.RADIO_STRIDE,
        catalogue.RADIO_LOGIT_SCALE)


def weights_of(segmenter: Segmenter) -> int:
    """Return how many bytes the weights of the image tower take, its head or projection too."""
    return sum(weight.nbytes for weight in segmenter.backbone.visual.parameters())


def measure_frames(clip: Segmenter, radio: Segmenter, size: tuple[int, int], rounds: int,
                   progress: tqdm | None = None) -> list[dict]:
    """
    Time the parts of a frame of one size, (width, height), in turn; return a row for each model.

    `total` is the Timing of a frame, `encode` that of the tower on its windows, and `decide` of
    all that follows. Of that, RADIO's `join` is what comes before words: the average of windows,
    `scga`, and `head`. `memory` is the peak of a frame, in bytes beside the weights.
    """
    rgb = inputs.street(0, size).rgb
    cases = _cases(clip, radio, rgb)
    parts = {(name, part): function for name, (segmenter, settings) in cases.items()
             for part, function in _parts(segmenter, rgb, settings).items()}
    timings = alternate(parts, rounds, progress)
    expect(progress, len(cases))
    rows = []
    for name, (segmenter, settings) in cases.items():
        rows.append({
            'model': name, 'width': size[0], 'height': size[1],
            'windows': len(_plan(segmenter, rgb, settings)),
            'memory': peak_memory(parts[name, 'total'], segmenter.device),
            **{part: timing.to_dict() for (owner, part), timing in timings.items()
               if owner == name}})
        if progress is not None:
            progress.update()
    return rows


def _cases(clip: Segmenter, radio: Segmenter, rgb: np.ndarray
           ) -> dict[str, tuple[Segmenter, ResolvedSettings]]:
    """Return what segments a frame, by name, and the settings that it does so with."""
    plan = _plan(radio, rgb, radio.settings)
    # Of the scale of RADIO's frame.
    side = min(rgb.shape[:2]) * max(plan.height, plan.width) // max(rgb.shape[:2])
    same = clip.resolve(Settings(short_side=side))
    cases = {CLIP: (clip, same), RADIO: (radio, radio.settings)}
    if len(_plan(clip, rgb, clip.settings)) != len(plan):
        cases[CLIP_BY_ITSELF] = clip, clip.settings
    return cases


def _plan(segmenter: Segmenter, rgb: np.ndarray, settings: ResolvedSettings) -> WindowPlan:
    height, width = segmenter.pixels([rgb], settings).shape[-2:]
    return plan_windows(height, width, settings.crop, settings.stride)


def _parts(segmenter: Segmenter, rgb: np.ndarray, settings: ResolvedSettings
           ) -> dict[str, Callable[[], object]]:
    # What is compared here are models of patches.
    assert not isinstance(segmenter.encoder, SegmentEncoder)
    joining, tower = segmenter.encoder.joining, segmenter.backbone.patch_tower
    pixels = segmenter.pixels([rgb], settings)
    features = segmenter.features(pixels, settings)
    join = torch.inference_mode()(
        partial(joining.join, features, _plan(segmenter, rgb, settings)))
    compared = join()
    words = _words(segmenter, compared)
    parts: dict[str, Callable[[], object]] = {
        'total': partial(segmenter.segment, rgb, words, settings),
        'encode': partial(segmenter.features, pixels, settings),
        'decide': partial(segmenter.decide, features, words, rgb.shape[:2], settings)}
    if joining.whole:
        # What is in them changes nothing of what they take.
        patches = torch.randn(1, compared[..., 0].numel(), tower.width, device=tower.device)
        parts |= {
            'join': join,
            'scga': torch.inference_mode()(partial(RadSeg().aggregate, patches)),
            'head': torch.inference_mode()(partial(tower.project, patches.to(tower.dtype)))}
    return parts


def _words(segmenter: Segmenter, compared: Tensor) -> Words:
    """Return words that win somewhere, whatever a random tower sees."""
    vocabulary = inputs.vocabulary(CLASSES)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(CLASSES, segmenter.backbone.embed_dim, generator=generator)
    words = Words(vocabulary, F.normalize(features, dim=-1).to(segmenter.device),
                  torch.tensor(vocabulary.query_class, device=segmenter.device), ('{}',))
    return inputs.spread(words, compared)


def describe(result: dict) -> str:
    """Return the table of a result as markdown."""
    where = (f"{result['threads']} threads of a CPU" if result['device'] == 'cpu'
             else 'a GPU: whole frames as CUDA graphs, their parts launched kernel by kernel')
    weights = ', '.join(f'{in_mib(size)} MiB of {name}'
                        for name, size in result['weights'].items())
    rows = []
    for row in result['frames']:
        clip = _row(result, CLIP, row['width'])
        parts = [in_ms(row[part]['median_ms']) if part in row else ''
                 for part in ('join', 'scga', 'head')]
        label = row['decide']['median_ms'] - row.get('join', {'median_ms': 0})['median_ms']
        rows.append([
            f"{row['width']} x {row['height']}", row['model'], row['windows'],
            in_ms(row['encode']['median_ms']), *parts, in_ms(label),
            *(in_ms(row['total'][key]) for key in ('median_ms', 'p95_ms')),
            f'{_ratio(row, clip):.2f}', in_mib(row['memory'])])
    return '\n\n'.join([
        f"Random weights, {result['precision']}, {result['classes']} classes, {where}. Times are "
        'medians in ms. RADIO averages its windows to one map of the frame, compares its patches '
        'with each other (SCGA), and maps them to features of words (head), all of which is '
        '`join`; a CLIP projects its patches while it encodes. Ratio is that of the total to '
        f'{CLIP} with as many windows. Weights of the image towers: {weights}. Memory is the peak '
        'of a frame beside these.',
        table(['frame', 'model', 'windows', 'encode', 'join', 'SCGA', 'head', 'decide', 'total',
               'p95', 'ratio', 'MiB'], rows)])


def targets(result: dict) -> list[Target]:
    """Return what was asked of this section, and how it fared."""
    ratios = [_ratio(_row(result, RADIO, width), _row(result, CLIP, width)) for width, _ in SIZES]
    width, height = SIZES[-1]
    largest = _row(result, RADIO, width)
    share = largest['scga']['median_ms'] / largest['total']['median_ms']
    device = {'cpu': 'CPU', 'cuda': 'GPU'}[result['device']]
    return [
        Target(f'{device}: a frame of {RADIO} in at most {FRAME_RATIO} times that of {CLIP} with '
               'the same windows', f'{max(ratios):.2f} times', max(ratios) <= FRAME_RATIO),
        Target(f'{device}: SCGA at most {SCGA_SHARE:.0%} of a frame of {width} x {height}',
               f'{share:.1%}', share <= SCGA_SHARE)]


def _row(result: dict, model: str, width: int) -> dict:
    return next(row for row in result['frames']
                if (row['model'], row['width']) == (model, width))


def _ratio(row: dict, clip: dict) -> float:
    return row['total']['median_ms'] / clip['total']['median_ms']
