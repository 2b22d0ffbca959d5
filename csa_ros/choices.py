"""
What can be chosen by name, and its limits, for help and parameters: nothing of it is loaded here.

The modules that do what is chosen import PyTorch, which takes seconds.
"""

DEFAULT_MODEL = 'ViT-B-16-quickgelu/openai'
# The keys of PRECISIONS in csa_ros.model.backbone.
PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')
# Labels change a little with bf16, which `auto` takes from so many times the speed of fp32 on.
LEAST_SPEEDUP = 1.3
# What the model, or the machine, is best with.
AUTO = 'auto'
# The keys of ATTENTION in csa_ros.model.attention.methods.
ATTENTIONS = ('csa', 'vanilla', 'maskclip', 'clearclip', 'naclip', 'sc-clip', 'gem', 'radseg')
RESIDUAL = ('auto', 'keep', 'drop')
# With RADSeg a class that is nowhere in a frame as probable as this is not there.
DENOISE = 0.5
# RADSeg's two protocols.
LOW, MID = RESOLUTIONS = ('low', 'mid')
# The keys of TEMPLATES in csa_ros.model.text.
ENSEMBLES = ('imagenet80', 'imagenet7', 'robot8', 'simple')
# The authors' limit for panoramas: the long side is never resized beyond this.
LONG_SIDE = 2048
# Phrases that can be looked for at a time: a CUDA graph has room for so many.
MAX_PHRASES = 8
# The relevancy from which on a phrase is found, 0.5 being no more likely than all else. Measured
# on the demo's streets: csa_ros.evaluation.pointing.
FIND_THRESHOLD = 0.6
