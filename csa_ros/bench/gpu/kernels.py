"""Where a GPU's time goes in one frame, kernel by kernel, as PyTorch's profiler sees it."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from csa_ros.bench import inputs
from csa_ros.bench.gpu.frames import make_segmenter
from csa_ros.bench.gpu.frames import Method
from csa_ros.bench.gpu.frames import METHODS
from csa_ros.bench.options import TITLES
from csa_ros.bench.timing import expect
from csa_ros.bench.timing import synchronize
from csa_ros.bench.timing import table
from csa_ros.model.backbone import Backbone
from torch.autograd import DeviceType
from torch.profiler import profile
from torch.profiler import ProfilerActivity
from tqdm import tqdm

TITLE = TITLES['gpu.kernels']
NEEDS_GPU = True
# What is looked into: the method by its name, the size (width, height) and the classes.
CASES = (('csa', (640, 480), 20), ('csa', (1280, 720), 171), ('sc-clip', (640, 480), 20),
         ('csa, pamr', (640, 480), 20))
# Of a frame's kernels, those that are listed on the page; the JSON has all.
LISTED = 12
_NAME_LENGTH = 70


def measure(options: argparse.Namespace, progress: tqdm) -> dict:
    """List the kernels of a frame of each case; the result is for JSON."""
    methods = {method.name: method for method in METHODS}
    with inputs.loaded(options.kernels_model, 'cuda', 'fp16') as segmenter:
        expect(progress, len(CASES))
        cases = []
        for number, (name, size, classes) in enumerate(CASES):
            trace = options.kernels_trace and options.kernels_trace / f'trace_{number}.json.gz'
            cases.append({
                'method': name, 'width': size[0], 'height': size[1], 'classes': classes,
                **measure_case(segmenter.backbone, methods[name], size, classes,
                               options.kernels_frames, trace)})
            progress.update()
    return {'model': options.kernels_model, 'cases': cases}


def measure_case(backbone: Backbone, method: Method, size: tuple[int, int], classes: int,
                 frames: int, trace: Path | None = None) -> dict:
    """
    Return what one frame runs.

    `kernels` has a row for each kernel with its `name`, its `calls` in a frame and their `us`,
    microseconds, the longest first; `us` is the sum. `size` is (width, height). With `trace`, what
    the profiler saw is written there.
    """
    segmenter = make_segmenter(backbone, method)
    words = inputs.encode(segmenter, classes)
    return kernels_of(partial(segmenter.segment, inputs.street(0, size).rgb, words), frames,
                      backbone.device.type, trace)


def kernels_of(segment: Callable[[], object], frames: int, device: str,
               trace: Path | None = None) -> dict:
    """Do so for a function that is called `frames` times, once more beforehand."""
    activity, device_type, time = {
        'cuda': (ProfilerActivity.CUDA, DeviceType.CUDA, 'self_device_time_total'),
        'cpu': (ProfilerActivity.CPU, DeviceType.CPU, 'self_cpu_time_total')}[device]
    segment()
    with profile(activities=[activity]) as profiler:
        for _ in range(frames):
            segment()
        synchronize()
    if trace is not None:
        profiler.export_chrome_trace(str(trace))
    rows = [{'name': event.key, 'calls': event.count / frames, 'us': getattr(event, time) / frames}
            for event in profiler.key_averages() if event.device_type == device_type]
    rows.sort(key=lambda row: row['us'], reverse=True)
    return {'us': sum(row['us'] for row in rows), 'kernels': rows}


def describe(result: dict) -> str:
    """Return the tables of a result as markdown."""
    parts = [f"Model `{result['model']}` in fp16. Microseconds of one frame, and the share of all "
             'that the GPU did for it, copies included.']
    for case in result['cases']:
        rows = case['kernels'][:LISTED]
        rest = case['us'] - sum(row['us'] for row in rows)
        parts += [
            f"### {case['method']}, {case['width']} x {case['height']}, {case['classes']} classes:"
            f" {case['us']:.0f} microseconds in "
            f"{sum(row['calls'] for row in case['kernels']):.0f} kernels",
            table(['kernel', 'calls', 'microseconds', 'share'], [
                *([_shortened(row['name']), f"{row['calls']:.0f}", f"{row['us']:.1f}",
                   f"{row['us'] / case['us']:.1%}"] for row in rows),
                ['all others', f"{sum(row['calls'] for row in case['kernels'][LISTED:]):.0f}",
                 f'{rest:.1f}', f"{rest / case['us']:.1%}"]])]
    return '\n\n'.join(parts)


def _shortened(name: str) -> str:
    """Return the name of a kernel without its namespaces, for a cell of a table."""
    name = name.replace('void ', '').replace('at::native::', '').replace('|', '/')
    name = name.replace('(anonymous namespace)::', '')
    return f'`{name[:_NAME_LENGTH]}{"..." if len(name) > _NAME_LENGTH else ""}`'
