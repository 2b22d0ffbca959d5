"""Cityscapes: its folders, and what its annotations hold."""

from csa_ros.evaluation.datasets.benchmark import IGNORED
from csa_ros.evaluation.datasets.files import value_table
from csa_ros.evaluation.datasets.layout import Form
from csa_ros.evaluation.datasets.layout import Layout

# The ids of the 19 classes that are evaluated, in the order of their train ids (cityscapesScripts,
# helpers/labels.py); the rest of the 34 does not count.
_EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_IDS = value_table({
    **{value: IGNORED for value in range(34)},
    **{value: index for index, value in enumerate(_EVALUATED)}})
_TRAIN_IDS = value_table(
    {**{index: index for index in range(len(_EVALUATED))}, 255: IGNORED})

CITYSCAPES = Layout(
    title='Cityscapes',
    places=('cityscapes', 'Cityscapes', ''),
    images=('leftImg8bit/val',),
    annotations=('gtFine/val',),
    forms=(Form('_gtFine_labelIds.png', _IDS), Form('_gtFine_labelTrainIds.png', _TRAIN_IDS)),
    counts=(500,),
    source='In a folder cityscapes, unpack leftImg8bit_trainvaltest.zip and '
           'gtFine_trainvaltest.zip of https://www.cityscapes-dataset.com/downloads/ (which wants '
           'an account), so that there are leftImg8bit/val and gtFine/val',
    image_suffix='_leftImg8bit.png',
)
