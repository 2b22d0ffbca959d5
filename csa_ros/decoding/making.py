"""The encoder and the decoder that belong to a model."""

from pathlib import Path
from typing import TypeAlias

from csa_ros.decoding.decoder import Decoder
from csa_ros.decoding.patches import PatchDecoder
from csa_ros.decoding.segments import SegmentDecoder
from csa_ros.model.backbone import Backbone
from csa_ros.model.dense import DenseEncoder
from csa_ros.model.int8 import Int8Encoder
from csa_ros.model.segments import SegmentEncoder
from csa_ros.model.towers.groupvit import GroupViTTower

Encoder: TypeAlias = DenseEncoder | Int8Encoder | SegmentEncoder


def make_decoder(backbone: Backbone, attention: str, residual: str, cache_dir: Path | None
                 ) -> tuple[Encoder, Decoder]:
    """
    Return what runs the tower of a model, and what makes labels of that.

    `attention`, `residual` and `cache_dir` as for `csa_ros.segmenter.Segmenter`; raises ModelError
    for what the tower cannot have.
    """
    if isinstance(backbone.tower, GroupViTTower):
        segments = SegmentEncoder(backbone, attention, residual)
        return segments, SegmentDecoder(segments, backbone.patch_size, backbone.device)
    patches = (Int8Encoder(backbone, attention, cache_dir, residual) if backbone.quantized
               else DenseEncoder(backbone, attention, residual))
    return patches, PatchDecoder(patches, backbone.patch_size, backbone.device)
