"""What others have measured: mIoU in percent of GroupViT, trained on GCC and YFCC."""

# What GroupViT does in place of an attention that is chosen.
GROUPING = 'grouping'
GROUPVIT = {'voc21': 52.3, 'context60': 22.4, 'coco_object': 24.3}
GROUPVIT_SOURCE = 'arXiv 2202.11094 (GroupViT), with GroupViT and no CLIP'
GROUPVIT_PROMPTS = 'simple'
