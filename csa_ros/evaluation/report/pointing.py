"""Where phrases were found as a text."""

from collections.abc import Mapping
from typing import Any

from csa_ros.bench.timing import table
from csa_ros.evaluation.report.result import percent


def describe(document: Mapping[str, Any]) -> str:
    """Return the figures of `csa_ros.evaluation.pointing` as markdown."""
    attentions, choices = document['attentions'], document['choices']
    first = next(iter(attentions.values()))
    rows = [[name, count, *(percent(each['classes'].get(name)) for each in attentions.values())]
            for name, count in first['counts'].items()]
    rows.append(['mean of classes', '', *(percent(each['mean']) for each in attentions.values())])
    thresholds = choices[0]['thresholds']
    return '\n\n'.join([
        f"{document['title']}, {document['streets']} streets, model `{document['model']}`: how "
        'often, in percent, the strongest spot of the heat lies on the class that is looked for, '
        f"of the streets on which it has at least {document['least_pixels']} pixels. Phrases are "
        'the names of the classes, and the vocabulary has all of them.',
        table(['looked for', 'streets', *attentions], rows),
        f"The same with csa on {document['streets_to_choose_by']} other streets, by what phrases "
        'are compared with (the words of the vocabulary and the canonical phrases, or these '
        'alone) and by the scale of the softmax; then, for several thresholds, the IoU of the '
        'regions with what is there / how often regions are found of what is not there.',
        table(['compared with', 'scale', 'pointing',
               *(f"{each['threshold']:g}" for each in thresholds)],
              [[row['negatives'], f"{row['scale']:g}", percent(row['mean']),
                *(f"{percent(each['iou'])} / {percent(each['false_alarms'])}"
                  for each in row['thresholds'])] for row in choices])])
