"""What disturbances cost as a text."""

from collections.abc import Mapping
from typing import Any

from csa_ros.bench.timing import table
from csa_ros.evaluation.report.result import percent

# Beside the mean: what is lost in different ways.
_CLASSES = ('road', 'building', 'tree', 'car', 'person', 'bicycle')


def describe(document: Mapping[str, Any]) -> str:
    """Return the figures of `csa_ros.evaluation.disturbances` as markdown."""
    rows, base, method = document['rows'], document['rows'][0], document['method']
    introduction = (
        f"{document['title']}, {document['segmented']} of {document['total']} streets, model "
        f"`{method['model']}`, {method['attention']}: mIoU without disturbances, with each alone "
        f'and with all.')
    cells = [[_name(row), percent(row['miou']),
              f"{100 * (row['miou'] - base['miou']):+.1f}", percent(row['pixel_accuracy']),
              *(percent(row['iou'][name]) for name in _CLASSES)] for row in rows]
    headings = ['disturbance', 'mIoU', 'to none', 'pixel accuracy', *_CLASSES]
    return f'{introduction}\n\n{table(headings, cells)}'


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['disturbance']}: {row['meaning']}" if row['meaning'] else row['disturbance']
