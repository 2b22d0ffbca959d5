"""Pascal VOC 2012 and Pascal Context: their folders, and what their annotations hold."""

from dataclasses import replace

from csa_ros.evaluation.datasets.benchmark import IGNORED
from csa_ros.evaluation.datasets.files import value_table
from csa_ros.evaluation.datasets.layout import Form
from csa_ros.evaluation.datasets.layout import Layout

# Borders of objects, and what annotators left out, are 255.
_VOC_WITH_BACKGROUND = value_table({**{value: value for value in range(21)}, 255: IGNORED})
_VOC = value_table(
    {0: IGNORED, **{value: value - 1 for value in range(1, 21)}, 255: IGNORED})
_CONTEXT_WITH_BACKGROUND = value_table({value: value for value in range(60)})
_CONTEXT = value_table({0: IGNORED, **{value: value - 1 for value in range(1, 60)}})

# Class 0 is background.
VOC21 = Layout(
    title='Pascal VOC 2012',
    places=('VOCdevkit/VOC2012', 'VOC2012', ''),
    images=('JPEGImages',),
    annotations=('SegmentationClass',),
    forms=(Form('.png', _VOC_WITH_BACKGROUND),),
    counts=(1449,),
    source='Unpack VOCtrainval_11-May-2012.tar of '
           'http://host.robots.ox.ac.uk/pascal/VOC/voc2012/, so that there is VOCdevkit/VOC2012',
    names='ImageSets/Segmentation/val.txt',
)
# The background does not count.
VOC20 = replace(VOC21, forms=(Form('.png', _VOC),))

# The official annotations have 459 classes, in MATLAB files or in a JSON file that only the Detail
# API reads; MMSegmentation's converter, which the published figures were made with, reduces them.
CONTEXT60 = Layout(
    title='Pascal Context',
    places=('VOCdevkit/VOC2010', 'VOC2010', ''),
    images=('JPEGImages',),
    annotations=('SegmentationClassContext',),
    forms=(Form('.png', _CONTEXT_WITH_BACKGROUND),),
    # Of the 5105 pictures, some releases of the list lack one.
    counts=(5105, 5104),
    source='Unpack VOCtrainval_03-May-2010.tar of '
           'http://host.robots.ox.ac.uk/pascal/VOC/voc2010/, so that there is VOCdevkit/VOC2010; '
           'then let MMSegmentation convert the annotations, trainval_merged.json (its '
           'docs/en/user_guides/2_dataset_prepare.md says where it is): '
           'python tools/dataset_converters/pascal_context.py VOCdevkit '
           'VOCdevkit/VOC2010/trainval_merged.json',
    names='ImageSets/SegmentationContext/val.txt',
)
CONTEXT59 = replace(CONTEXT60, forms=(Form('.png', _CONTEXT),))
