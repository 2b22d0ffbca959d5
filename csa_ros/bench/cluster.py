"""
Recordings on many cores: what each stage of the work takes on one, and what a fleet takes of it.

What is summed up is in `csa_ros.bench.capacity`, and the stages in `csa_ros.bench.stages`.
"""

import argparse
from dataclasses import asdict
import json
from pathlib import Path
import tempfile

from csa_ros.bench import sharing
from csa_ros.bench import stages
from csa_ros.bench.capacity import CORES
from csa_ros.bench.capacity import DECODE
from csa_ros.bench.capacity import Estimate
from csa_ros.bench.capacity import estimate
from csa_ros.bench.capacity import Footage
from csa_ros.bench.capacity import GPUS
from csa_ros.bench.capacity import Image
from csa_ros.bench.capacity import Machines
from csa_ros.bench.capacity import READ
from csa_ros.bench.capacity import SEGMENT
from csa_ros.bench.capacity import WRITE
from csa_ros.bench.options import TITLES
from csa_ros.bench.targets import in_ms
from csa_ros.bench.targets import Target
from csa_ros.bench.timing import table
from tqdm import tqdm

TITLE = TITLES['cluster']
SIZE = (1280, 720)
# Of what one process does in the same time; what was asked.
OVERHEAD = 0.1
# As gpu.frames names what a GPU takes a frame for.
_GPU_METHOD, _GPU_CLASSES = 'csa', 20
_KB, _MB, _GB, _TB = 1e3, 1e6, 1e9, 1e12


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """
    Time the stages with one thread each; the result is for JSON.

    `inputs` by kind, `segment` by model and `outputs` by form are as `csa_ros.bench.stages` has
    them, and `whole` as `csa_ros.bench.sharing`, with None and why as `missing` where there is no
    Ray. `gpu` is what a GPU is reckoned with, or None: its `name` and the `ms` of a frame.
    `footage` and `machines` are what the sum is for. Raises OSError or ValueError for a file of
    `--cluster-gpu` that is not the bench's.
    """
    gpu = _read_gpu(options.cluster_gpu) if options.cluster_gpu else None
    rounds = options.cluster_rounds
    with stages.one_thread(), tempfile.TemporaryDirectory(dir=options.cluster_folder) as name:
        folder = Path(name)
        seen = stages.pictures(SIZE)
        found = {}
        for kind in stages.KINDS:
            bag = stages.record(folder / kind, kind, seen, options.cluster_images)
            found[kind] = stages.measure_input(bag, rounds, progress)
        outputs = stages.measure_outputs(folder / stages.JPEG, folder, rounds, progress)
        missing = sharing.missing() if options.cluster_runs else '--cluster-runs is 0'
        whole = None if missing else sharing.measure(
            folder, options.cluster_workers, options.cluster_part_images, options.cluster_runs,
            progress)
        segment = [
            stages.measure_segmenting(model, options.cluster_device, seen[0], rounds, progress)
            for model in dict.fromkeys((options.cluster_model, stages.SEEN_BY))]
    if gpu is None and segment[0]['device'] == 'cuda':
        gpu = {'name': 'this GPU', 'ms': segment[0]['frame']['median_ms']}
    return {'width': SIZE[0], 'height': SIZE[1], 'images': options.cluster_images,
            'inputs': found, 'segment': segment, 'outputs': outputs, 'gpu': gpu,
            'whole': whole, 'missing': missing,
            'footage': asdict(options.cluster_footage),
            'machines': [asdict(machines) for machines in options.cluster_machines]}


def describe(result: dict) -> str:
    """Return the tables of a result as markdown."""
    return '\n\n'.join([
        f"Images of {result['width']} x {result['height']} of rendered streets with a noise of "
        f'{stages.NOISE:g} grey levels, in MCAP: raw, or as JPEG of quality '
        f"{stages.JPEG_QUALITY}. {result['images']} of them at a time go through one stage after "
        'the other, with one thread each; times are medians of one image. Cold is read from the '
        'disk and warm from the memory of the kernel, into which everything is written. Bags hold '
        'what was recorded as well.',
        _stages(result), _whole(result), *_reckoned(result)])


def targets(result: dict) -> list[Target]:
    """Return what was asked of this section, and how it fared."""
    aim = (f'segment_bag on a local Ray, of 2 and 4 workers: at most {OVERHEAD:.0%} slower than '
           'one process on as many cores')
    found = [case for case in (result['whole'] or {'cases': []})['cases']
             if case['way'] == sharing.RAY]
    if not found:
        return [Target(aim)]
    return [Target(aim, ', '.join(f"{case['workers']}: {case['ratio']:.2f} times as fast"
                                  for case in found),
                   all(case['ratio'] >= 1 - OVERHEAD for case in found))]


def estimates(result: dict, machines: Machines) -> list[tuple[str, dict, Estimate]]:
    """
    Return what footage takes on machines, as kind of input, row of `outputs`, and the sum.

    Of JPEG all that can be written is told, and of raw images what `segment_bag` writes if it is
    not told otherwise.
    """
    footage = Footage(**result['footage'])
    model, gpu = result['segment'][0], result['gpu']
    rows = []
    for kind, read in result['inputs'].items():
        for written in result['outputs'][:None if kind == stages.JPEG else 1]:
            seconds = {READ: read['cold']['median_ms'], DECODE: read['decode']['median_ms'],
                       WRITE: written['write']['median_ms']}
            if not machines.gpus:
                seconds[SEGMENT] = model['frame']['median_ms']
            image = Image({stage: ms / 1e3 for stage, ms in seconds.items()},
                          gpu['ms'] / 1e3 if gpu else 0, read['bytes'],
                          _written(result, kind, written))
            rows.append((kind, written, estimate(footage, image, machines)))
    return rows


def estimates_table(result: dict) -> str:
    """Return what footage takes on all machines that can be told of, as a markdown table."""
    rows: list[list[object]] = []
    for machines in _machines(result):
        if not _is_timed(result, machines):
            continue
        rows += [[
            _name(machines), kind, f"{written['form']}, {' and '.join(written['outputs'])}",
            f'{found.rates[CORES]:.0f}', f'{found.rates[GPUS]:.0f}' if machines.gpus else '',
            f'{found.hours:.1f}', f'{found.limit}, most by {found.stage}' if found.limit == CORES
            else found.limit, f'{found.gpu_hours:.0f}' if machines.gpus else '',
            f'{found.core_hours:.0f}', f'{found.read / _TB:.1f}', f'{found.written / _TB:.1f}',
            f'{found.throughput / _GB:.2f}', found.workers or '']
            for kind, written, found in estimates(result, machines)]
    return table(['machines', 'recorded', 'written', 'cores, images/s', 'GPUs, images/s', 'hours',
                  'busy', 'GPU hours', 'core hours', 'TB in', 'TB out', 'GB/s', 'workers a GPU'],
                 rows)


def _read_gpu(path: Path) -> dict:
    """Return what a GPU takes for a frame, from the JSON of a bench that ran on it."""
    document = json.loads(path.read_text())
    try:
        row = next(row for row in document['sections']['gpu.frames']['frames']
                   if (row['width'], row['height']) == SIZE
                   and (row['classes'], row['method']) == (_GPU_CLASSES, _GPU_METHOD))
    except (KeyError, StopIteration, TypeError):
        raise ValueError(
            f'{path} has no frames of {SIZE[0]} x {SIZE[1]} on a GPU: name what '
            '`bench gpu.frames --json FILE` has written on a machine with one') from None
    return {'name': document['machine']['gpu'], 'ms': row['frame']['median_ms']}


def _written(result: dict, kind: str, written: dict) -> float:
    """Return the bytes of an image: bags were written with JPEG's, and hold those of the kind."""
    if written['form'] != 'bag':
        return written['bytes']
    return (written['bytes'] - result['inputs'][stages.JPEG]['bytes']
            + result['inputs'][kind]['bytes'])


def _stages(result: dict) -> str:
    rows = []
    for kind, row in result['inputs'].items():
        rows += [[f'read, {name}: {kind}', *_rates(row[name], row['bytes'])]
                 for name in ('cold', 'warm')]
        rows.append([f'decode: {kind}', *_rates(row['decode'])])
    for row in result['segment']:
        where = 'one thread' if row['device'] == 'cpu' else 'GPU'
        rows.append([f"segment: `{row['model']}`, {row['classes']} classes, {row['precision']}, "
                     f'{where}', *_rates(row['frame'])])
    for row in result['outputs']:
        rows.append([f"write: {row['form']}, {' and '.join(row['outputs'])}",
                     *_rates(row['write'], row['bytes'])])
    return table(['stage', 'ms', 'images a second', 'MB a second', 'kB an image'], rows)


def _rates(timing: dict, size: float | None = None) -> list[str]:
    rate = 1e3 / timing['median_ms']
    return [in_ms(timing['median_ms']), f'{rate:.3g}' if rate < 100 else f'{rate:.0f}',
            *(['', ''] if size is None else [f'{rate * size / _MB:.0f}', f'{size / _KB:.0f}'])]


def _whole(result: dict) -> str:
    """Return the text and table of whole recordings, or why there is none."""
    whole = result['whole']
    if whole is None:
        return f"Whole recordings were not measured: {result['missing']}."
    return '\n\n'.join([
        f"A whole recording of {whole['images']} images of {whole['width']} x {whole['height']} "
        f"in {whole['parts']} parts, with the model `{whole['model']}`, on {whole['cores']} cores "
        f"by each way in turn, {whole['rounds']} times. Rates are medians while all are at work, "
        'ratios those to one process of the same round; the start comes before: Python, the '
        'model, and with Ray its own.',
        table(['way', 'processes', 'images a second', 'ratio', 'start, s'], [
            [case['way'], case['workers'], f"{case['rate']:.2f}", f"{case['ratio']:.2f}",
             f"{case['start']:.1f}"] for case in whole['cases']])])


def _reckoned(result: dict) -> list[str]:
    """Return the text and table of what a fleet takes."""
    footage, gpu = Footage(**result['footage']), result['gpu']
    cameras = 'one camera' if footage.cameras == 1 else f'{footage.cameras} cameras'
    left_out = [_name(machines) for machines in _machines(result)
                if not _is_timed(result, machines)]
    parts = [
        f'What {footage.hours:g} hours of {cameras} at {footage.rate:g} Hz take by these times: '
        f'{footage.images:,.0f} images. A core reads, decodes and writes one image after the '
        'other, and segments it where no GPU does, so that all cores do *cores / (seconds of all '
        'stages)* images a second, and all GPUs *GPUs / (seconds of a frame)*. The smaller tells '
        'the hours, and what is busy all the time. Hours of GPUs and cores are paid for, busy or '
        'not, and are what it costs. The store has to deliver and take GB a second in all; where '
        'it cannot, it is what all wait for. A GPU is kept busy by so many workers, each on a '
        'core. Left out are the start of workers, and what cores of a machine wait for together.'
        + (f" A GPU is reckoned with {gpu['ms']:.2f} ms a frame, as measured on "
           f"{gpu['name']} with {_GPU_CLASSES} classes and without an overlay." if gpu else ''),
        estimates_table(result)]
    if left_out:
        parts.append(f"Not told here: {', '.join(left_out)}, whose segmenting was not timed.")
    return parts


def _machines(result: dict) -> list[Machines]:
    return [Machines(**fields) for fields in result['machines']]


def _is_timed(result: dict, machines: Machines) -> bool:
    """Tell whether what segments on machines was measured: on a GPU, a core was not."""
    return result['gpu'] is not None if machines.gpus else result['segment'][0]['device'] == 'cpu'


def _name(machines: Machines) -> str:
    gpus = f' and {machines.gpus} GPUs' if machines.gpus else ''
    return f'{machines.count} x {machines.cores} cores{gpus}'
