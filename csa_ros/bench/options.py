"""The sections of the bench and their options, read without what they measure."""

import argparse
from collections.abc import Callable
from pathlib import Path
import re

from csa_ros.bench.capacity import Footage
from csa_ros.bench.capacity import Machines
from csa_ros.vocabulary import MAX_CLASSES
from csa_ros.vocabulary import MAX_QUERIES

# In the order in which they run and are shown.
TITLES = {
    'gpu.frames': 'Frames on a GPU',
    'gpu.kernels': 'Kernels of a frame on a GPU',
    'gpu.cameras': 'Cameras on a GPU',
    'gpu.precision': 'Half precision on a GPU',
    'core': 'Frames to labels',
    'refine': 'Labels that follow the image',
    'find': 'Phrases in frames',
    'radio': 'RADIO beside CLIP',
    'text': 'Words to features',
    'runtimes': 'Runtimes for the image tower on a CPU',
    'gpu.towers': 'Runtimes for the image tower on a GPU',
    'video': 'Video: reuse of windows that do not change',
    'overhead': "The node's own overhead",
    'node': 'The node from end to end',
    'cluster': 'Recordings on a cluster',
}
RANDOM = 'random'
RANDOM_ARCHITECTURE = 'ViT-B-16-quickgelu'
DEFAULT_MODEL = f'{RANDOM}:{RANDOM_ARCHITECTURE}'
MODEL_HELP = ('demo, ARCH/TAG, ARCH:/path, or random:ARCH, which has random weights: what a model '
              'costs can be measured without having it (default: %(default)s)')
PRECISIONS = {'cpu': 'fp32,bf16,int8', 'cuda': 'fp32,fp16,bf16'}
ROUNDS = {'cpu': 5, 'cuda': 200}
RADIO_ROUNDS = {'cpu': 5, 'cuda': 50}

# Grey levels that reuse_threshold takes. Noise stays below it, and the changes that it lets pass
# move few labels.
RECOMMENDED = 4.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of all sections, each in a group of its own."""
    for name, title in TITLES.items():
        group = parser.add_argument_group(f'section {name}', title)
        if name in _OPTIONS:
            _OPTIONS[name](group)


def parse_sizes(text: str) -> list[tuple[int, int]]:
    """Read sizes such as `640x480,1280x720` as (width, height), for argparse."""
    sizes = []
    for size in text.split(','):
        match = re.fullmatch(r'\s*(\d+)x(\d+)\s*', size)
        if not match or not int(match[1]) or not int(match[2]):
            raise argparse.ArgumentTypeError(
                f'size {size!r} is not understood: write WIDTHxHEIGHT, such as 640x480')
        sizes.append((int(match[1]), int(match[2])))
    return sizes


def parse_classes(text: str) -> list[tuple[int, int]]:
    """
    Read class counts such as `8,21:56` as (classes, queries).

    `21:56` is 21 classes with 56 queries, as in the Pascal VOC setting of SCLIP. Raises
    argparse.ArgumentTypeError for counts that no vocabulary may have.
    """
    counts = []
    for count in text.split(','):
        match = re.fullmatch(r'\s*(\d+)(?::(\d+))?\s*', count)
        classes, queries = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 1 <= classes <= MAX_CLASSES or not classes <= queries <= MAX_QUERIES:
            raise argparse.ArgumentTypeError(
                f'class count {count!r} is not understood: write CLASSES or '
                f'CLASSES:QUERIES, at most {MAX_CLASSES}:{MAX_QUERIES}')
        counts.append((classes, queries))
    return counts


def parse_footage(text: str) -> Footage:
    """Read recordings such as `1000x10x4`, hours at a rate of several cameras, for argparse."""
    match = re.fullmatch(r'(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)(?:x(\d+))?', text.strip())
    if not match or not all(float(number or 1) for number in match.groups()):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not understood: write HOURSxHZ or HOURSxHZxCAMERAS, such as 1000x10')
    return Footage(float(match[1]), float(match[2]), int(match[3] or 1))


def parse_machines(text: str) -> list[Machines]:
    """Read machines such as `1x112+8,100x2`: how many, of how many cores and GPUs."""
    found = []
    for item in text.split(','):
        match = re.fullmatch(r'\s*(\d+)x(\d+)(?:\+(\d+))?\s*', item)
        if not match or not int(match[1]) or not int(match[2]):
            raise argparse.ArgumentTypeError(
                f'machines {item!r} are not understood: write COUNTxCORES or COUNTxCORES+GPUS, '
                'such as 1x112+8')
        found.append(Machines(int(match[1]), int(match[2]), int(match[3] or 0)))
    return found


def _add_gpu_frames(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--gpu-model', default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument('--gpu-rounds', type=int, default=200,
                        help='how often each is timed (default: %(default)s)')
    parser.add_argument('--gpu-plain-rounds', type=int, default=20,
                        help='how often the plain path is timed (default: %(default)s)')


def _add_gpu_kernels(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--kernels-model', default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument('--kernels-frames', type=int, default=10,
                        help='frames that are looked into (default: %(default)s)')
    parser.add_argument('--kernels-trace', type=Path, metavar='FOLDER',
                        help='write a trace of each case there, for ui.perfetto.dev')


def _add_gpu_cameras(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--cameras-model', default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument('--cameras-rounds', type=int, default=100,
                        help='how often a batch is timed (default: %(default)s)')
    parser.add_argument('--cameras-seconds', type=float, default=5.0,
                        help='how long batch follows batch (default: %(default)s)')


def _add_core(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--model', default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--precision', help='comma-separated, the one to compare with first '
                        f"(default: {PRECISIONS['cpu']} on a CPU, {PRECISIONS['cuda']} on a GPU)")
    parser.add_argument('--sizes', type=parse_sizes, default='640x480,1280x720',
                        help='of frames, WIDTHxHEIGHT,... (default: %(default)s)')
    parser.add_argument('--classes', type=parse_classes, default='8,20,21:56,60,171',
                        help='class counts; 21:56 is 21 classes with 56 queries (default: '
                        '%(default)s)')
    parser.add_argument('--rounds', type=int, help='how often each is timed (default: '
                        f"{ROUNDS['cpu']} on a CPU, {ROUNDS['cuda']} on a GPU)")


def _add_refine(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--refine-model', default='demo', help='demo, ARCH/TAG or ARCH:/path '
                        '(default: %(default)s)')
    parser.add_argument('--refine-device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--refine-rounds', type=int, default=5,
                        help='how often each is timed (default: %(default)s)')


def _add_find(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--find-model', default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument('--find-device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--find-rounds', type=int, default=5,
                        help='how often each is timed (default: %(default)s)')


def _add_radio(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--radio-device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--radio-precision', default='auto', help='auto, fp32, fp16 or bf16')
    parser.add_argument('--radio-rounds', type=int, help='how often each is timed (default: '
                        f"{RADIO_ROUNDS['cpu']} on a CPU, {RADIO_ROUNDS['cuda']} on a GPU)")


def _add_text(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--text-model', default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument('--text-device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--text-rounds', type=int, default=3,
                        help='how often words are encoded (default: %(default)s)')
    parser.add_argument('--text-frames', type=int, default=10,
                        help='how many frames are timed beside it (default: %(default)s)')


def _add_runtimes(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--runtimes-model', default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument('--runtimes-windows', type=int, default=6,
                        help='windows of a frame (default: %(default)s, as 640x480 has)')
    parser.add_argument('--runtimes-rounds', type=int, default=7,
                        help='how often each is timed (default: %(default)s)')


def _add_gpu_towers(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--towers-model', default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument('--towers-windows', type=int, default=6,
                        help='windows of a frame (default: %(default)s, as 640x480 has)')
    parser.add_argument('--towers-rounds', type=int, default=100,
                        help='how often each is timed (default: %(default)s)')


def _add_video(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--video-seeds', type=int, nargs='+', default=[0, 1, 2], metavar='SEED',
                        help='streets to look at; the first is timed (default: 0 1 2)')
    parser.add_argument('--video-frames', type=int, default=60,
                        help='frames of each street and case (default: %(default)s)')
    parser.add_argument('--video-thresholds', type=float, nargs='+', metavar='LEVELS',
                        default=[1, 2, RECOMMENDED, 8, 16],
                        help='grey levels by which a window may change and count as unchanged '
                        f'(default: 1 2 {RECOMMENDED:g} 8 16)')
    parser.add_argument('--video-device', default='auto', help='auto, cpu, cuda or cuda:N')


def _add_overhead(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--overhead-frames', type=int, default=30,
                        help='frames to time in each case (default %(default)s)')
    parser.add_argument('--overhead-rate', type=float, default=3.0,
                        help='frames per second that the camera sends; less than the model can '
                             'do, or waiting for it counts (default %(default)g)')
    parser.add_argument('--overhead-size', type=int, nargs=2, default=(1280, 720),
                        metavar=('WIDTH', 'HEIGHT'), help='pixels of a frame (default 1280 720)')


def _add_node(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--node-rates', type=float, nargs='+', default=[5.0, 10.0, 30.0],
                        metavar='RATE', help='frames per second of the camera (default 5 10 30)')
    parser.add_argument('--node-size', type=int, nargs=2, default=(640, 480),
                        metavar=('WIDTH', 'HEIGHT'), help='pixels of a frame (default 640 480)')
    parser.add_argument('--node-model', default='demo',
                        help='parameter model of the node (default demo)')
    parser.add_argument('--node-seconds', type=float, default=10.0,
                        help='how long to watch at each rate (default 10)')


def _add_cluster(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument('--cluster-model', default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument('--cluster-device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument('--cluster-rounds', type=int, default=5,
                        help='how often each stage is timed (default: %(default)s)')
    parser.add_argument('--cluster-images', type=int, default=100,
                        help='images of the recordings that are read and written (default: '
                        '%(default)s)')
    parser.add_argument('--cluster-folder', type=Path, metavar='FOLDER',
                        help='where they are written, on the disk to be measured (default: that '
                        'of temporary files)')
    parser.add_argument('--cluster-workers', type=int, nargs='+', default=[2, 4], metavar='N',
                        help='workers of a local Ray that share out a whole recording (default: '
                        '2 4)')
    parser.add_argument('--cluster-part-images', type=int, default=8, metavar='N',
                        help='images of each of its parts (default: %(default)s)')
    parser.add_argument('--cluster-runs', type=int, default=3,
                        help='how often that is done by each way; 0 leaves it out (default: '
                        '%(default)s)')
    parser.add_argument('--cluster-gpu', type=Path, metavar='FILE',
                        help='what bench gpu.frames wrote with --json on a machine with a GPU, to '
                        'reckon with one that this machine has not')
    parser.add_argument('--cluster-footage', type=parse_footage, default='1000x10',
                        metavar='HOURSxHZ[xCAMERAS]',
                        help='recordings to reckon with (default: %(default)s)')
    parser.add_argument('--cluster-machines', type=parse_machines, default='1x112+8,100x2',
                        metavar='COUNTxCORES[+GPUS],...',
                        help='machines to reckon with, and the GPUs of each (default: '
                        '%(default)s)')


# That of half precision has none: it is the demo model that knows what it sees.
_OPTIONS: dict[str, Callable[[argparse._ArgumentGroup], None]] = {
    'gpu.frames': _add_gpu_frames,
    'gpu.kernels': _add_gpu_kernels,
    'gpu.cameras': _add_gpu_cameras,
    'core': _add_core,
    'refine': _add_refine,
    'find': _add_find,
    'radio': _add_radio,
    'text': _add_text,
    'runtimes': _add_runtimes,
    'gpu.towers': _add_gpu_towers,
    'video': _add_video,
    'overhead': _add_overhead,
    'node': _add_node,
    'cluster': _add_cluster,
}
