"""The parameters of the node that names actions: what each means, its default and its limits."""

from csa_ros.actions.choices import FRAMES
from csa_ros.actions.choices import METHODS
from csa_ros.actions.choices import PROMPTS
from csa_ros.choices import DEFAULT_MODEL
from csa_ros.parameters.table import MAX_RATE
from csa_ros.parameters.table import Parameter
from csa_ros.parameters.table import PARAMETERS as OF_SEGMENT

MAX_ACTIONS = 100
# In seconds.
LEAST_WINDOW, MAX_WINDOW = 0.2, 60.0
# What is said where no action is likely enough.
NONE = 'none'
_SHARED = {item.name: item for item in OF_SEGMENT}

PARAMETERS = (
    Parameter(
        'actions', '',
        'The actions to tell apart: a list of names, or one string with commas between them; '
        'what is recorded joins them.',
        words=True,
        constraints=f'up to {MAX_ACTIONS} names, which are words for the model as well; empty for '
                    'those in the file of examples alone'),
    Parameter(
        'prompts', list(PROMPTS),
        'Sentences that the names are put into before they are encoded: a list of templates, or '
        'the name of an ensemble.',
        words=True,
        constraints='templates with {} where the name goes, or an ensemble of docs/vocabulary.md'),
    Parameter(
        'threshold', 0.5,
        f'Where no action is as probable as this, what is said is {NONE}.',
        bounds=(0.0, 1.0)),
    Parameter(
        'window', 2.0,
        f'Seconds that an action takes: {FRAMES} frames of so long are looked at.',
        bounds=(LEAST_WINDOW, MAX_WINDOW)),
    Parameter(
        'action_name', '',
        'Action that ~/record has just seen, and whose examples ~/forget forgets; empty for the '
        'last example.',
        constraints='a name for actions, quoted where YAML takes it for another type'),
    Parameter(
        'examples', '',
        'File of what was recorded: read when the node is configured, written at each change; '
        'empty for none.',
        read_only=True,
        constraints=_SHARED['examples'].constraints),
    Parameter(
        'model', DEFAULT_MODEL,
        'The CLIP that sees and reads.',
        loaded=True,
        constraints='demo, demo:/path/to/weights, PRESET, ARCH/TAG (open_clip), '
                    'PRESET:/path/to/weights or ARCH:/path/to/weights'),
    Parameter(
        'method', 'clip-fsar',
        'How a window is compared with examples: frame by frame in their order (clip-fsar), so '
        'by a tower with adapters (ma-clip), or by the mean of its frames (mean).',
        choices=tuple(METHODS),
        loaded=True),
    Parameter(
        'method_weights', '',
        'File that `train_actions` has written for the method; empty for '
        'clip-fsar without training, and for mean.',
        loaded=True,
        constraints='a path, quoted where YAML takes it for another type'),
    _SHARED['device'],
    Parameter(
        'precision', 'auto',
        'Arithmetic of the model; auto is fp16 on a GPU and fp32 on a CPU.',
        choices=('auto', 'fp32', 'fp16', 'bf16'),
        loaded=True),
    _SHARED['threads'],
    Parameter(
        'image_topic', '',
        'Topic of the images; empty for image.',
        loaded=True,
        constraints='absolute, or relative to the namespace of the node'),
    _SHARED['transport'],
    _SHARED['sensor_bits'],
    Parameter(
        'max_rate', 0.0,
        f'Most answers per second; 0 gives one with each frame that is looked at, of which there '
        f'are {FRAMES} in a window.',
        bounds=(0.0, MAX_RATE)),
    _SHARED['autostart'],
)
NAMES = tuple(parameter.name for parameter in PARAMETERS)
