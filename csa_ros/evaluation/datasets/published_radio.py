"""What others have measured: mIoU in percent of RADIO with RADSeg."""

from csa_ros.model.weights.catalogue import RADIO_PRESETS

# The paper shows means alone, in a figure: by preset of the model, and over which sets.
RADSEG = {name: preset.miou for name, preset in RADIO_PRESETS.items() if preset.miou is not None}
RADSEG_SETS = ('voc20', 'context59', 'ade20k', 'coco_stuff', 'cityscapes')
RADSEG_SOURCE = 'arXiv 2511.19704 (RADSeg), read off a figure, +- 0.1'
RADSEG_NOTE = (f'means over {", ".join(RADSEG_SETS[:-1])} and {RADSEG_SETS[-1]} alone: '
               + ', '.join(f'{mean} with {model}' for model, mean in RADSEG.items())
               + f' ({RADSEG_SOURCE}); nothing is published of it with CLIPs')
