"""
COCO-Stuff 164k and COCO-Object: their folders, and what their annotations hold.

In the published COCO-Object, bed is a query of the background as well, which comes first: no pixel
is ever labelled as a bed, and the class counts as 0. The vocabulary here has it once, so that the
mIoU may be higher by up to an 81st of the class's own IoU.
"""

from csa_ros.evaluation.datasets.benchmark import IGNORED
from csa_ros.evaluation.datasets.files import value_table
from csa_ros.evaluation.datasets.layout import Form
from csa_ros.evaluation.datasets.layout import Layout

# The official annotations hold COCO's ids less one: 0 to 89 are things, 91 to 181 stuff. COCO has
# no objects of these categories (street sign, hat, shoe, ...), which leaves 80 things.
_UNUSED = {11, 25, 28, 29, 44, 65, 67, 68, 70, 82}
_THINGS = [value for value in range(90) if value not in _UNUSED]
_STUFF = list(range(91, 182))

_STORED = {value: index for index, value in enumerate(_THINGS + _STUFF)}
_STUFF_FORMS = (
    Form('.png', value_table({**_STORED, 255: IGNORED})),
    # What MMSegmentation's converter makes of them.
    Form('_labelTrainIds.png',
         value_table({**{index: index for index in _STORED.values()}, 255: IGNORED})),
)


def _object_class(index: int) -> int:
    """Return the class of COCO-Object for one of COCO-Stuff: all stuff is background."""
    return index + 1 if index < len(_THINGS) else 0


# As the authors' converter has it, unlabelled pixels are background and count.
_OBJECT_FORMS = (
    Form('.png', value_table(
        {**{value: _object_class(index) for value, index in _STORED.items()}, 255: 0})),
    # What the authors' converter makes of them. It paints no instances, whatever the name says.
    Form('_instanceTrainIds.png', value_table(
        {index: index for index in range(len(_THINGS) + 1)})),
    Form('_labelTrainIds.png', value_table(
        {**{index: _object_class(index) for index in _STORED.values()}, 255: 0})),
)

_SOURCE = (
    'In a folder coco_stuff164k, unpack val2017.zip of https://cocodataset.org/#download into '
    'images and stuffthingmaps_trainval2017.zip of https://github.com/nightrome/cocostuff into '
    'annotations, so that there are images/val2017/*.jpg and annotations/val2017/*.png')

COCO_STUFF = Layout(
    title='COCO-Stuff 164k',
    places=('coco_stuff164k', 'coco', 'COCO', ''),
    images=('images/val2017', 'val2017'),
    annotations=('annotations/val2017', 'stuffthingmaps/val2017',
                 'stuffthingmaps_trainval2017/val2017', 'val2017'),
    forms=_STUFF_FORMS,
    counts=(5000,),
    source=_SOURCE,
)
COCO_OBJECT = Layout(
    title='COCO-Object',
    places=('coco_object', *COCO_STUFF.places),
    images=COCO_STUFF.images,
    annotations=COCO_STUFF.annotations,
    forms=_OBJECT_FORMS,
    counts=COCO_STUFF.counts,
    source=_SOURCE,
)
