"""The eight benchmarks of the published results, each with its protocol."""

from dataclasses import replace

from csa_ros.choices import DENOISE
from csa_ros.choices import LOW
from csa_ros.choices import MID
from csa_ros.evaluation.datasets.ade20k import ADE20K
from csa_ros.evaluation.datasets.benchmark import Benchmark
from csa_ros.evaluation.datasets.cityscapes import CITYSCAPES
from csa_ros.evaluation.datasets.coco import COCO_OBJECT
from csa_ros.evaluation.datasets.coco import COCO_STUFF
from csa_ros.evaluation.datasets.pascal import CONTEXT59
from csa_ros.evaluation.datasets.pascal import CONTEXT60
from csa_ros.evaluation.datasets.pascal import VOC20
from csa_ros.evaluation.datasets.pascal import VOC21
from csa_ros.evaluation.datasets.published import published
from csa_ros.evaluation.datasets.published import sources
from csa_ros.settings import Settings

# The settings are those of the code that the authors of each method released, for ViT-B/16.
_SCLIP = Settings(short_side=336, crop=224, stride=112, logit_scale=40.0, denoise=0.0)
_CLEARCLIP = Settings(short_side=448, crop=448, stride=224, logit_scale=50.0, denoise=0.0)
# RADSeg's have two resolutions, by the short side. Nothing is published of it with background:
# there the settings are in the same spirit, those of the set without, and SCLIP's threshold.
_RADSEG = Settings(short_side=336, crop=224, stride=112, logit_scale=100.0, denoise=DENOISE)
_RADSEG_MID = replace(_RADSEG, short_side=576, crop=336, stride=224)
_VOC_MID = replace(_RADSEG_MID, short_side=336, stride=112)
_COCO_MID = replace(_RADSEG_MID, short_side=448)
# GroupViT's, which has figures with background alone.
_GROUPVIT = Settings(short_side=448, crop=448, stride=224, denoise=0.0)


def _with_background(settings: Settings) -> Settings:
    return replace(settings, unknown_threshold=0.1)


# Without background, a class is found for every pixel: what is below the threshold has none, and
# no threshold is set. With background it is class 0, and takes what is below the threshold.
_ALL = (
    Benchmark(
        'voc21', 'Pascal VOC 2012 with background', 'voc21',
        replace(_SCLIP, logit_scale=65.0, unknown_threshold=0.1, min_area=0.1),
        VOC21, 0, published('voc21'), sources('voc21'),
        {'clearclip': replace(_CLEARCLIP, unknown_threshold=0.5),
         'naclip': replace(_SCLIP, inference='whole', unknown_threshold=0.1),
         'sc-clip': replace(_SCLIP, logit_scale=50.0, unknown_threshold=0.15, min_area=0.1)},
        {LOW: _with_background(_RADSEG), MID: _with_background(_VOC_MID)},
        replace(_GROUPVIT, unknown_threshold=0.95)),
    Benchmark(
        'voc20', 'Pascal VOC 2012', 'voc20', _SCLIP,
        VOC20, None, published('voc20'), sources('voc20'),
        {'clearclip': _CLEARCLIP, 'naclip': replace(_SCLIP, inference='whole')},
        {LOW: _RADSEG, MID: _VOC_MID},
        _GROUPVIT),
    Benchmark(
        'context60', 'Pascal Context with background', 'context60',
        replace(_SCLIP, logit_scale=50.0, unknown_threshold=0.1),
        CONTEXT60, 0, published('context60'), sources('context60'),
        {'clearclip': replace(_CLEARCLIP, unknown_threshold=0.15),
         'naclip': replace(_SCLIP, unknown_threshold=0.1),
         'sc-clip': replace(_SCLIP, unknown_threshold=0.15)},
        {LOW: _with_background(_RADSEG), MID: _with_background(_RADSEG_MID)},
        replace(_GROUPVIT, unknown_threshold=0.35)),
    Benchmark(
        'context59', 'Pascal Context', 'context59', _SCLIP,
        CONTEXT59, None, published('context59'), sources('context59'), {'clearclip': _CLEARCLIP},
        {LOW: _RADSEG, MID: _RADSEG_MID},
        _GROUPVIT),
    Benchmark(
        'coco_object', 'COCO-Object with background', 'coco_object',
        replace(_SCLIP, logit_scale=50.0, unknown_threshold=0.1),
        COCO_OBJECT, 0, published('coco_object'), sources('coco_object'),
        {'clearclip': replace(_CLEARCLIP, unknown_threshold=0.4),
         'naclip': replace(_SCLIP, unknown_threshold=0.1),
         'sc-clip': replace(_SCLIP, logit_scale=55.0, unknown_threshold=0.35)},
        {LOW: _with_background(_RADSEG), MID: _with_background(_COCO_MID)},
        replace(_GROUPVIT, unknown_threshold=0.95)),
    Benchmark(
        'coco_stuff', 'COCO-Stuff 164k', 'coco_stuff', replace(_SCLIP, short_side=448),
        COCO_STUFF, None, published('coco_stuff'), sources('coco_stuff'),
        {'clearclip': _CLEARCLIP, 'naclip': _SCLIP, 'sc-clip': _SCLIP},
        {LOW: _RADSEG, MID: _COCO_MID},
        _GROUPVIT),
    Benchmark(
        'cityscapes', 'Cityscapes', 'cityscapes', replace(_SCLIP, short_side=560),
        CITYSCAPES, None, published('cityscapes'), sources('cityscapes'),
        {'clearclip': replace(_CLEARCLIP, crop=224)},
        {LOW: replace(_RADSEG, short_side=560), MID: replace(_RADSEG_MID, short_side=688)},
        _GROUPVIT),
    Benchmark(
        'ade20k', 'ADE20K, 150 classes', 'ade20k', _SCLIP,
        ADE20K, None, published('ade20k'), sources('ade20k'), {'clearclip': _CLEARCLIP},
        {LOW: _RADSEG, MID: _RADSEG_MID},
        _GROUPVIT),
)

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}
