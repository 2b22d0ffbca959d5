"""What can be chosen by name, for help and parameters: nothing of it is loaded here."""

from typing import NamedTuple

# Ways to name an action, and what each is.
METHODS = {
    'clip-fsar': 'frames matched in their order (CLIP-FSAR, arXiv 2303.02982)',
    'ma-clip': 'the same, by an image tower that compares frames itself (MA-CLIP, arXiv '
               '2308.01532); needs weights of train_actions',
    'mean': 'the mean of the frames, whatever their order: what the others are compared with',
}
# Of a window, and of a clip: those of the published methods.
FRAMES = 8
# What stands around the name of an action.
PROMPTS = ('a photo of {}.', 'a video of {}.', 'a photo that shows {}.', 'a video that shows {}.')


class Learning(NamedTuple):
    """What of a method learns, and at which peak rate unless another is given."""

    purpose: str
    rate: float


# By the methods that can.
LEARNING = {
    'clip-fsar': Learning('a transformer over the features of frames, which are made once', 1e-4),
    'ma-clip': Learning('adapters in the image tower as well, which see each frame again and '
                        'again: slow without a GPU', 3e-4),
}
