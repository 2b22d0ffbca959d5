"""A comparison of ways to segment as a text: what each differs in, and what comes of it."""

from collections.abc import Mapping
from typing import Any

from csa_ros.bench.timing import table
from csa_ros.evaluation.report.result import percent
from csa_ros.evaluation.report.result import place


def describe(document: Mapping[str, Any]) -> str:
    """Return a comparison as markdown."""
    rows, base = document['rows'], document['rows'][0]
    parts = [_introduction(document)]
    for group in dict.fromkeys(row['group'] for row in rows):
        parts.append(table(
            [group, 'mIoU', 'to the base', 'pixel accuracy', 'time'],
            [[row['variant'], percent(row['miou']), f"{100 * (row['miou'] - base['miou']):+.1f}",
              percent(row['pixel_accuracy']), f"{row['ms'] / base['ms']:.2f}"]
             for row in rows if row['group'] == group]))
    attentions = [row for row in rows if row['group'] == 'attention']
    parts.append(table(
        ['IoU', *(row['variant'] for row in attentions)],
        [[name, *(percent(row['iou'][name]) for row in attentions)] for name in base['iou']]))
    parts += [f'Left out, {name}: {reason}.' for name, reason in document['left_out'].items()]
    return '\n\n'.join(parts)


def _introduction(document: Mapping[str, Any]) -> str:
    method, base = document['method'], document['rows'][0]
    return (
        f"{document['title']}, {document['segmented']} of {document['total']} pictures, model "
        f"`{method['model']}`. Each row differs from the base in one thing. The base is "
        f"{method['attention']}, {method['inference']} (short side {method['short_side']}, crop "
        f"{method['crop']}, stride {method['stride']}), {len(method['prompts'])} prompt "
        f"template(s); its mIoU is {percent(base['miou'])}. Time is that of one picture relative "
        f"to the base's {base['ms']:.0f} ms, the shortest of {document['rounds']} rounds in turn "
        f'on {place(document)}.')
