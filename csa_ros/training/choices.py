"""What can be chosen of a training by name, for help and plans: nothing of it is loaded here."""

from typing import NamedTuple

# The one loss that does not ask for the feature of a whole picture.
PATCHES = 'patches'
# By what a model can learn.
LOSSES = {
    'siglip': 'each pair of picture and caption for itself (SigLIP, arXiv 2303.15343)',
    'fff': 'the same, and captions that are likely to be true of other pictures count as theirs '
           '(FFF, arXiv 2405.10286)',
    'dreamlip': 'each of the captions of a picture, and the patches that each is like (DreamLIP, '
                'arXiv 2403.17007)',
    PATCHES: 'the patches that show a caption best (multiple-instance learning with attention, '
             'arXiv 1802.04712)',
}
# How many blocks of an image tower learn where only its last ones do.
LAST_BLOCKS = 2


class Part(NamedTuple):
    """What learns, and at which peak rate unless another is given."""

    purpose: str
    rate: float


# By name. Words are what a class is asked for with, and cost least.
PARTS = {
    'words': Part('the text tower alone, from the patches that the node sees', 1e-4),
    'last-blocks': Part(f'the text tower and the last {LAST_BLOCKS} blocks of the image tower',
                        2e-5),
    'all': Part('both towers', 1e-5),
}
