"""What an evaluation comes to: figures for JSON, and the tables made of them."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import Any

from csa_ros.bench.timing import machine
from csa_ros.bench.timing import table
from csa_ros.evaluation.datasets.protocol import deviations
from csa_ros.evaluation.datasets.protocol import published_key
from csa_ros.evaluation.datasets.protocol import RADSEG
from csa_ros.evaluation.datasets.published_radio import RADSEG as RADSEG_MEANS
from csa_ros.evaluation.datasets.published_radio import RADSEG_SETS
from csa_ros.evaluation.datasets.published_radio import RADSEG_SOURCE
from csa_ros.evaluation.records import Record
from csa_ros.evaluation.run import Task
from csa_ros.labels.score import iou
import cv2
import numpy as np
import open_clip


def summarise(task: Task, records: Mapping[str, Record], command: str) -> dict[str, Any]:
    """
    Return the result of a task, of what JSON can hold.

    Shares are from 0 to 1, and None where there is nothing to divide by; the mean leaves those
    out, as mmseg does: a class that is neither in a truth nor in labels. `confusion` has a row for
    each true class and a column for each label, the last for pixels without one. `pictures` are
    the scores of the single pictures.
    """
    names = task.words.vocabulary.names
    matrix = np.zeros((len(names), len(names) + 1), np.int64)
    for record in records.values():
        record.add_to(matrix)
    values, truth = iou(matrix), matrix.sum(axis=1)
    hits = np.diagonal(matrix)
    return {
        'kind': 'result',
        'dataset': task.benchmark.name,
        'title': task.benchmark.title,
        'segmented': len(records),
        'total': task.total,
        'miou': _mean(values),
        'pixel_accuracy': _share(hits.sum(), truth.sum()),
        'published': _published(task),
        'deviations': list(deviations(task.benchmark, task.segmenter.backbone, task.method)),
        'method': task.identity,
        'seconds': sum(record.seconds for record in records.values()),
        'machine': machine(),
        'versions': {'numpy': np.__version__, 'open_clip': open_clip.__version__,
                     'opencv': cv2.__version__},
        'command': command,
        'classes': [
            {'name': name, 'iou': _number(value), 'accuracy': _share(hit, pixels),
             'share': _share(pixels, truth.sum())}
            for name, value, hit, pixels in zip(names, values, hits, truth)],
        'confusion': matrix.tolist(),
        'pictures': {name: _number(record.score(len(names))) for name, record in records.items()},
    }


def worst(result: Mapping[str, Any], count: int) -> Sequence[str]:
    """Return the names of the pictures with the lowest scores, the worst first."""
    scores = {name: score for name, score in result['pictures'].items() if score is not None}
    return sorted(scores, key=lambda name: scores[name])[:count]


def difference(result: Mapping[str, Any]) -> float | None:
    """Return by how many percentage points the mIoU is above the published one, if any."""
    published = result['published']
    if published is None or result['miou'] is None or result['segmented'] < result['total']:
        return None
    return 100 * result['miou'] - published['miou']


def describe(result: Mapping[str, Any]) -> str:
    """Return the figures of one data set as markdown."""
    lines = [
        f"## {result['title']}: mIoU {percent(result['miou'])}",
        f"{_counted(result)}, pixel accuracy {percent(result['pixel_accuracy'])}, "
        f"{1e3 * result['seconds'] / result['segmented']:.0f} ms a picture on {place(result)}.",
        *_against_published(result),
        _method(result['method']),
        table(['class', 'IoU', 'accuracy', 'share of pixels'],
              [[entry['name'], *(percent(entry[key]) for key in ('iou', 'accuracy', 'share'))]
               for entry in result['classes']])]
    return '\n\n'.join(lines)


def describe_all(results: Sequence[Mapping[str, Any]], failed: Mapping[str, str]) -> str:
    """
    Return the figures of several data sets beside the published ones as markdown.

    `failed` says of data sets why there is no figure.
    """
    rows = [[result['title'], percent(result['miou']), _published_percent(result, 'miou'),
             _signed(difference(result)), _published_percent(result, 'code'),
             _counted(result, short=True)] for result in results]
    differences = [difference(result) for result in results]
    compared = [result for result, gap in zip(results, differences) if gap is not None]
    if len(compared) > 1:
        rows.append([
            f'mean of {len(compared)}', percent(_mean([result['miou'] for result in compared])),
            f"{_mean([result['published']['miou'] for result in compared]):.1f}",
            _signed(_mean([gap for gap in differences if gap is not None])), '', ''])
    five = _published_as_mean(results)
    if five:
        mean = sum(result['miou'] for result in five) / len(five)
        theirs = RADSEG_MEANS[_preset(five[0])]
        rows.append([f'mean of the {len(five)} without background', percent(mean),
                     f'{theirs:.1f}', _signed(100 * mean - theirs), '', ''])
    counted = [result['miou'] for result in results if result['miou'] is not None]
    if len(counted) > max(len(compared), len(five), 1):
        rows.append([f'mean of {len(counted)}', percent(_mean(counted)), '', '', '', ''])
    parts = [table(['mIoU in percent', 'here', 'published', 'difference',
                    "by the authors' code", 'pictures'], rows)]
    parts += [_method(results[0]['method'], shared=True)] if results else []
    parts += _notes(results, five)
    parts += [f'No figure for {name}: {reason}' for name, reason in failed.items()]
    return '\n\n'.join(parts)


def place(document: Mapping[str, Any]) -> str:
    """Return what the model of a result or a comparison ran on."""
    found = document['machine']
    if document['method']['device'] == 'cuda':
        return found['gpu']
    return f"{found['threads']} threads of {found['cpu']}"


def percent(share: float | None) -> str:
    """Return a share as a percentage with one digit; `-` for None."""
    return '-' if share is None else f'{100 * share:.1f}'


def _published(task: Task) -> dict[str, Any] | None:
    key = published_key(task.method.attention, task.settings)
    if key not in task.benchmark.published:
        return None
    # The code of a paper's authors may give figures of its own.
    return {'method': key, 'miou': task.benchmark.published[key],
            'source': task.benchmark.sources.get(key),
            'code': task.benchmark.published.get(f'{key} (released code)')}


def _published_percent(result: Mapping[str, Any], key: str) -> str:
    value = (result['published'] or {}).get(key)
    return '-' if value is None else f'{value:.1f}'


def _against_published(result: Mapping[str, Any]) -> list[str]:
    published = result['published']
    if published is None:
        return []
    gap = difference(result)
    text = f"Published for {published['method']}: {published['miou']:.1f}"
    if published['source']:
        text += f" ({published['source']})"
    if gap is None:
        return [f'{text}; not comparable with {_counted(result)}.']
    return [f'{text}; here {_signed(gap)}.', *_deviating([result])]


def _published_as_mean(results: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return those of the results whose mean alone is published, if they are all there."""
    found = [result for result in results
             if result['dataset'] in RADSEG_SETS and result['method']['attention'] == RADSEG
             and result['method']['refine'] == 'off' and _preset(result) in RADSEG_MEANS
             and result['miou'] is not None and result['segmented'] == result['total']]
    return found if len(found) == len(RADSEG_SETS) else []


def _preset(result: Mapping[str, Any]) -> str:
    return result['method']['model'].partition(':')[0]


def _deviating(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in what results differ from the published ones, once for all that differ alike."""
    titles: dict[str, list[str]] = {}
    for result in results:
        if result['deviations']:
            titles.setdefault('; '.join(result['deviations']), []).append(result['title'])
    return [f"Not as published ({'; '.join(names)}): {deviations}."
            for deviations, names in titles.items()]


def _notes(results: Sequence[Mapping[str, Any]], as_mean: Sequence[Mapping[str, Any]]
           ) -> list[str]:
    notes = _deviating([*(result for result in results if result['published']), *as_mean])
    limited = [result['title'] for result in results if result['segmented'] < result['total']]
    if limited:
        notes.append('Not all pictures were segmented, so that there is no difference for '
                     f"{'; '.join(limited)}.")
    sources = {result['published']['source'] for result in results if result['published']}
    if as_mean:
        titles = '; '.join(result['title'] for result in as_mean)
        notes.append(f'Published of {titles} is the mean alone: {RADSEG_SOURCE}.')
    return [*notes, *(f'Published: {source}' for source in sorted(filter(None, sources)))]


def _method(method: Mapping[str, Any], shared: bool = False) -> str:
    """Say in a line how pictures were segmented; `shared`: what data sets have in common."""
    parts = [f"model `{method['model']}`",
             f"attention {method['attention']} (residual {method['residual']})"]
    if not shared:
        parts += [f"short side {method['short_side']}", f"inference {method['inference']}"]
        if method['inference'] == 'slide':
            parts.append(f"crop {method['crop']} at stride {method['stride']}")
        parts += [f"logit scale {method['logit_scale']:g}",
                  f"unknown threshold {method['unknown_threshold']:g}",
                  f"min area {method['min_area']:g}", f"refine {method['refine']}"]
    parts.append(f"prompt templates: {len(method['prompts'])}")
    if 'examples' in method:
        parts.append('classes taught by examples')
    text = ', '.join(parts)
    return f'{text[0].upper()}{text[1:]}.'


def _counted(result: Mapping[str, Any], short: bool = False) -> str:
    segmented, total = result['segmented'], result['total']
    text = f'{segmented}' if segmented == total else f'{segmented} of {total}'
    return text if short else f'{text} pictures'


def _signed(value: float | None) -> str:
    return '' if value is None else f'{value:+.1f}'


def _mean(values: Iterable[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else None


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None
