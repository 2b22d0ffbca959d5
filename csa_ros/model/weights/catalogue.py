"""
Checkpoints known by name: what they are, where they come from, and how they were trained.

Which activation and which preprocessing belong to weights cannot be seen in them. A preset says
so, by its architecture (with `-quickgelu` in the name or without) and its tag.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from csa_ros.model.towers.groupvit import GroupViTSizes
from csa_ros.model.towers.groupvit import TextSizes
import open_clip
from open_clip.constants import OPENAI_DATASET_MEAN
from open_clip.constants import OPENAI_DATASET_STD


# Parameters of image towers, in millions.
TOWERS = {
    'ViT-B-32': 87.8,
    'ViT-B-16': 86.2,
    'ViT-L-14': 304.0,
    'ViT-L-14-336': 304.3,
    'ViT-H-14': 632.1,
    'ViT-H-14-378': 632.7,
    'ViT-L-14-CLIPA': 304.0,
    'ViT-L-14-CLIPA-336': 304.3,
    'ViT-H-14-CLIPA': 632.1,
    'ViT-H-14-CLIPA-336': 632.5,
    'ViT-bigG-14-CLIPA': 1844.9,
    'ViT-bigG-14-CLIPA-336': 1845.4,
    'MobileCLIP-B': 86.3,
    'MobileCLIP2-B': 86.3,
    'MobileCLIP2-L-14': 304.0,
}


@dataclass(frozen=True)
class Preset:
    """
    One checkpoint.

    `architecture` is open_clip's. With a `tag` it is one of open_clip's pretrained pairs; with a
    `file` (repository, path) it is a file of the Hugging Face hub; with neither it is downloaded
    by hand from `by_hand`. `licence` is that of the weights, as their page had it when this was
    written. `miou` is the published mean over the eight benchmarks of the SCLIP paper, in percent,
    with `csa` and the paper's settings, None where there is none.
    """

    architecture: str
    tag: str | None
    licence: str
    file: tuple[str, str] | None = None
    by_hand: str = ''
    miou: float | None = None

    @property
    def model(self) -> str:
        """Architecture, with its tag if it has one, as open_clip calls them."""
        return f'{self.architecture}/{self.tag}' if self.tag else self.architecture

    @property
    def tower(self) -> float:
        """Parameters of the image tower, in millions."""
        return TOWERS[self.architecture.removesuffix('-quickgelu')]

    @property
    def pretrained(self) -> dict:
        """Preprocessing, and what else open_clip knows; empty if it does not know the tag."""
        if self.tag:
            return open_clip.get_pretrained_cfg(self.architecture, self.tag)
        # Files from elsewhere are of CLIPs that were trained as OpenAI's were.
        return {'mean': OPENAI_DATASET_MEAN, 'std': OPENAI_DATASET_STD}

    @property
    def page(self) -> str:
        """Address of the page about the weights."""
        repository = self.file[0] if self.file else self.pretrained.get('hf_hub', '').strip('/')
        return self.by_hand or f'https://huggingface.co/{repository}'


@dataclass(frozen=True)
class RadioPreset:
    """
    One C-RADIOv3, whose words SigLIP2's text tower reads; what its weights do not say.

    `name` is NVIDIA's; `file` (repository, path) is in the Hugging Face hub. The tower has
    `layers` blocks of `width` with attention of `heads`, with LayerScale or without, a table of
    `table` x `table` positions, and `prefix` tokens before those of the patches; with its head it
    has `tower` million parameters. `miou` is the published mean, in percent, over five benchmarks
    without background, VOC20, Context59, ADE20k, COCO-Stuff and Cityscapes: read off a figure of
    RADSeg (arXiv 2511.19704) to 0.1, None where there is none.
    """

    name: str
    file: tuple[str, str]
    width: int
    layers: int
    heads: int
    tower: float
    layer_scale: bool = True
    table: int = 128
    prefix: int = 8
    miou: float | None = None

    @property
    def page(self) -> str:
        """Address of the page about the weights."""
        return f'https://huggingface.co/nvidia/{self.name}'


@dataclass(frozen=True)
class GroupViTPreset:
    """
    One GroupViT; what its weights do not say.

    `name` is NVIDIA's; `file` (repository, path) is in the Hugging Face hub. The towers have the
    sizes `image` and `text`; that of pictures, with its projection, has `tower` million
    parameters.
    """

    name: str
    file: tuple[str, str]
    image: GroupViTSizes
    text: TextSizes
    tower: float

    @property
    def page(self) -> str:
        """Address of the page about the weights."""
        return f'https://huggingface.co/{self.file[0]}'


# Of the tower and of the text tower, as their pages had it when this was written.
RADIO_LICENCE = 'NVIDIA Open Model + Apache-2.0'
# How the table of positions is scaled. NVIDIA's code has False since 2025-06-28, with which RADSeg
# ran; what it published on the hub, and timm, had True for B and H.
RADIO_ALIGN_CORNERS = False
# As RADSeg runs it: pixels of the windows, of their stride and of the shorter side, and the factor
# of cosines.
RADIO_IMAGE_SIZE, RADIO_STRIDE, RADIO_SHORT_SIDE = 224, 112, 336
RADIO_LOGIT_SCALE = 100.0
# What reads words for all of them: text tower and tokenizer.
SIGLIP2 = ('google/siglip2-so400m-patch16-naflex', 'model.safetensors')
SIGLIP2_TOKENIZER = (SIGLIP2[0], 'tokenizer.json')

_MIT = 'MIT'
_NON_COMMERCIAL = 'CC BY-NC 4.0'
_APACHE = 'Apache-2.0'
# For research alone.
_APPLE = 'Apple AMLR'
_DREAMLIP = Preset(
    'ViT-B-16', None, 'CC BY 4.0',
    by_hand='https://github.com/ant-research/DreamLIP#pretrained-checkpoints')


def _diva(architecture: str, path: str, base: str) -> Preset:
    # Trained from weights of other people, whose licence holds as well.
    return Preset(architecture, None, f'{_APACHE} + {base}', file=('BAAI/DIVA', path))


PRESETS: dict[str, Preset] = {
    'openai-b32': Preset('ViT-B-32-quickgelu', 'openai', _MIT),
    'openai-b16': Preset('ViT-B-16-quickgelu', 'openai', _MIT, miou=38.2),
    'openai-l14': Preset('ViT-L-14-quickgelu', 'openai', _MIT),
    'openai-l14-336': Preset('ViT-L-14-336-quickgelu', 'openai', _MIT),
    'metaclip-b16-400m': Preset('ViT-B-16-quickgelu', 'metaclip_400m', _NON_COMMERCIAL),
    'metaclip-b16-fullcc': Preset('ViT-B-16-quickgelu', 'metaclip_fullcc', _NON_COMMERCIAL),
    'metaclip-l14-400m': Preset('ViT-L-14-quickgelu', 'metaclip_400m', _NON_COMMERCIAL),
    'metaclip-l14-fullcc': Preset('ViT-L-14-quickgelu', 'metaclip_fullcc', _NON_COMMERCIAL),
    'metaclip-h14-fullcc': Preset('ViT-H-14-quickgelu', 'metaclip_fullcc', _NON_COMMERCIAL),
    'dfn-b16': Preset('ViT-B-16-quickgelu', 'dfn2b', _APPLE),
    'dfn-l14': Preset('ViT-L-14-quickgelu', 'dfn2b', _APPLE),
    'dfn-l14-39b': Preset('ViT-L-14', 'dfn2b_s39b', 'Apple, see page'),
    'dfn-h14': Preset('ViT-H-14-quickgelu', 'dfn5b', 'Apple, see page'),
    'dfn-h14-378': Preset('ViT-H-14-378-quickgelu', 'dfn5b', _APPLE),
    'laion2b-b16': Preset('ViT-B-16', 'laion2b_s34b_b88k', _MIT),
    'laion2b-l14': Preset('ViT-L-14', 'laion2b_s32b_b82k', _MIT),
    'laion2b-h14': Preset('ViT-H-14', 'laion2b_s32b_b79k', _MIT),
    'datacomp-b16': Preset('ViT-B-16', 'datacomp_xl_s13b_b90k', _MIT),
    'datacomp-l14': Preset('ViT-L-14', 'datacomp_xl_s13b_b90k', _MIT),
    'dreamlip-cc3m': _DREAMLIP,
    'dreamlip-cc12m': _DREAMLIP,
    'dreamlip-yfcc15m': _DREAMLIP,
    'dreamlip-30m': _DREAMLIP,
    'diva-openai-l14': _diva(
        'ViT-L-14-quickgelu', 'OpenAICLIP/OpenAI-ViT-L-14-224.pth', _MIT),
    'diva-openai-l14-336': _diva(
        'ViT-L-14-336-quickgelu', 'OpenAICLIP/OpenAI-ViT-L-14-336.pth', _MIT),
    'diva-metaclip-l14': _diva(
        'ViT-L-14-quickgelu', 'MetaCLIP/MetaCLIP-ViT-L-14.pth', _NON_COMMERCIAL),
    'diva-metaclip-h14': _diva(
        'ViT-H-14-quickgelu', 'MetaCLIP/MetaCLIP-ViT-H-14.pth', _NON_COMMERCIAL),
    'diva-dfn-h14': _diva('ViT-H-14-quickgelu', 'DFN/DFN-ViT-H-14-224.pth', _APPLE),
    'diva-dfn-h14-378': _diva('ViT-H-14-378-quickgelu', 'DFN/DFN-ViT-H-14-378.pth', _APPLE),
    'clipa-l14': Preset('ViT-L-14-CLIPA', 'datacomp1b', _APACHE),
    'clipa-l14-336': Preset('ViT-L-14-CLIPA-336', 'datacomp1b', _APACHE),
    'clipa-h14': Preset('ViT-H-14-CLIPA', 'datacomp1b', _APACHE),
    'clipa-h14-336': Preset('ViT-H-14-CLIPA-336', 'datacomp1b', _APACHE),
    'clipa-h14-336-laion2b': Preset('ViT-H-14-CLIPA-336', 'laion2b', _APACHE),
    'clipa-bigg14': Preset('ViT-bigG-14-CLIPA', 'datacomp1b', _APACHE),
    'clipa-bigg14-336': Preset('ViT-bigG-14-CLIPA-336', 'datacomp1b', _APACHE),
    'mobileclip-b': Preset('MobileCLIP-B', 'datacompdr', _APPLE),
    'mobileclip-b-lt': Preset('MobileCLIP-B', 'datacompdr_lt', _APPLE),
    'mobileclip2-b': Preset('MobileCLIP2-B', 'dfndr2b', _APPLE),
    'mobileclip2-l14': Preset('MobileCLIP2-L-14', 'dfndr2b', _APPLE),
}

# Those of RADIO; H was trained without LayerScale.
RADIO_PRESETS: dict[str, RadioPreset] = {
    'c-radio-v3-b': RadioPreset(
        'C-RADIOv3-B', ('nvidia/RADIO', 'c-radio_v3-b_half.pth.tar'), 768, 12, 12, 105.8,
        miou=48.0),
    'c-radio-v3-l': RadioPreset(
        'C-RADIOv3-L', ('nvidia/RADIO', 'c-radio_v3-l_half.pth.tar'), 1024, 24, 16, 327.9),
    'c-radio-v3-h': RadioPreset(
        'C-RADIOv3-H', ('nvidia/RADIO', 'c-radio_v3-h_half.pth.tar'), 1280, 32, 16, 660.1,
        layer_scale=False, miou=46.9),
}

# How people call the one GroupViT that there is.
GROUPVIT = 'groupvit'
# Of code and weights.
GROUPVIT_LICENCE = 'NVIDIA, research only'
# As the authors run it: pixels of the windows, of their stride and of the shorter side.
GROUPVIT_IMAGE_SIZE, GROUPVIT_STRIDE, GROUPVIT_SHORT_SIDE = 448, 224, 448
GROUPVIT_PRESETS: dict[str, GroupViTPreset] = {
    'groupvit-gcc-yfcc': GroupViTPreset(
        'GroupViT', ('nvidia/groupvit-gcc-yfcc', 'pytorch_model.bin'),
        GroupViTSizes(width=384, heads=6, patch_size=16, table=14, depths=(6, 3, 3),
                      groups=(64, 8), mixing=192, hidden=4096, embed_dim=256),
        TextSizes(width=256, heads=4, layers=12, context_length=77, vocab_size=49408, hidden=4096,
                  embed_dim=256),
        31.5),
}


def presets_of(architectures: Iterable[str]) -> list[str]:
    """Return the presets of any of some architectures."""
    wanted = set(architectures)
    return [name for name, preset in PRESETS.items() if preset.architecture in wanted]
