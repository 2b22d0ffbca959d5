r"""
Trains the bundled demo model: a small CLIP that learns street words from captions of crops.

Nothing but whole-crop captions supervises it, as CLIP is trained; its attention is the ordinary
one. The bundled weights come from two runs with torch 2.15 on an AMD EPYC: 67 minutes on one core
(OMP_NUM_THREADS=1), then 14 minutes on two. `csa_ros.tools.evaluate --dataset demo`
measures them.

    python -m csa_ros.demo.train
    python -m csa_ros.demo.train --start csa_ros/demo/weights --steps 1500 --rate 5e-4 \
        --patch-share 0 --seed 1
"""

import argparse
import json
import multiprocessing
from pathlib import Path

from csa_ros.demo import captions
from csa_ros.demo.scenes import Scene
from csa_ros.model.text import templates
import cv2
import numpy as np
import open_clip
from safetensors.torch import load_file
from safetensors.torch import save_file
import torch
import torch.nn.functional as F
from tqdm import tqdm

WEIGHTS = Path(__file__).parent / 'weights'
# Seeds 0 to 99 are the unseen scenes of the evaluation; training starts beyond them.
EVALUATION_SEEDS = range(100)
FIRST_TRAINING_SEED = 1000

MODEL = {
    'embed_dim': 128,
    'vision_cfg': {'image_size': 64, 'layers': 4, 'width': 192, 'head_width': 48, 'patch_size': 8},
    'text_cfg': {'context_length': 24, 'vocab_size': 49408, 'width': 128, 'heads': 4, 'layers': 2},
}
PREPROCESS = {'mean': [0.45, 0.45, 0.45], 'std': [0.25, 0.25, 0.25]}
# Best on scenes with seeds 200 to 223 among those with which two CPU cores keep up.
SHORT_SIDE, STRIDE = 288, 48
# Smallest and largest side, in pixels of a 320 x 240 scene, of the crops to learn from.
CROP_SIDES = (18, 120)


def render(seed):
    """Render one training scene at a random moment of its drive."""
    cv2.setNumThreads(1)
    return Scene(seed).render(time=seed % 7 * 1.7)


def render_all(count):
    """Render `count` training scenes on all processors."""
    seeds = range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + count)
    with multiprocessing.get_context('spawn').Pool() as pool:
        return list(tqdm(pool.imap(render, seeds, chunksize=8), 'Rendering', count))


def crop(frame, random):
    """
    Cut a random square out of a scene, more often around things than around the ground.

    Returns (64, 64, 3) uint8 pixels and the (side, side) uint8 instance map of the crop.
    """
    height, width = frame.labels.shape
    low, high = np.log(CROP_SIDES)
    side = int(np.exp(random.uniform(low, high)))
    if random.random() < 0.7:
        # Without this, nine crops in ten would show road, sky and walls only.
        rows, columns = np.nonzero(frame.labels == random.choice(np.unique(frame.labels)))
        pick = random.integers(len(rows))
        jitter = random.integers(-side // 3, side // 3 + 1, 2)
        center = np.array((rows[pick], columns[pick])) + jitter
    else:
        center = random.integers((0, 0), (height, width))
    top, left = np.clip(center - side // 2, 0, (height - side, width - side))
    window = slice(top, top + side), slice(left, left + side)
    size = MODEL['vision_cfg']['image_size']
    shrink = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    pixels = cv2.resize(frame.rgb[window], (size, size), interpolation=shrink)
    if random.random() < 0.5:
        pixels = pixels[:, ::-1]
    pixels = np.clip(pixels * random.uniform(0.85, 1.15), 0, 255).astype(np.uint8)
    return pixels, frame.instances[window]


def make_batch(frames, size, random, prompts):
    """
    Draw crops and one caption of each.

    Returns (size, 64, 64, 3) uint8 pixels, the captions, and the (size, size) float32 truth of
    every caption about every crop, from `captions.truth`.
    """
    pixels, facts, texts, stated = [], [], [], []
    while len(pixels) < size:
        frame = frames[random.integers(len(frames))]
        image, instances = crop(frame, random)
        shown = captions.facts_of(instances, frame.names, frame.looks)
        text, claims = captions.caption(shown, random, prompts)
        pixels.append(image)
        facts.append(shown)
        texts.append(text)
        stated.append(claims)
    return np.stack(pixels), texts, captions.truth(facts, stated)


def normalise(pixels):
    """Turn (N, H, W, 3) uint8 pixels into the (N, 3, H, W) float32 input of the tower."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(PREPROCESS[key]).view(3, 1, 1) for key in ('mean', 'std'))
    return (images - mean) / std


def sigmoid_loss(logits, target):
    """
    Compare every crop with every caption, each pair for itself (SigLIP, arXiv 2303.15343).

    `logits` and `target` are (crops, captions). Unlike SigLIP's, the target has more than the
    diagonal: every caption that is true of a crop counts as its caption, and undecided pairs
    (NaN) count nothing. For each caption, the crops that it is true of and those that it is false
    of weigh alike: otherwise common words would win over rare ones everywhere in a picture.
    """
    losses = F.softplus(torch.where(target == 1, -logits, logits))

    def mean(chosen):
        return (losses * chosen).sum(0) / chosen.sum(0).clamp(min=1)

    return (mean(target == 1) + mean(target == 0)).mean()


def model_logits(model, features, text):
    """Return the scaled cosines (N, M) of image features (N, D) and unit text features (M, D)."""
    return F.normalize(features, dim=-1) @ text.T * model.logit_scale.exp() + model.logit_bias


def build_model(seed):
    """Build the untrained model, half of whose patches are dropped in each training step."""
    torch.manual_seed(seed)
    vision = MODEL['vision_cfg'] | {'patch_dropout': 0.5}
    return open_clip.CLIP(**MODEL | {'vision_cfg': vision}, init_logit_scale=np.log(10),
                          init_logit_bias=-2.0)


def optimizer_for(model, rate):
    """Return AdamW that decays matrices only, as CLIP's training does."""
    matrices = [p for n, p in model.named_parameters() if p.ndim > 1 and 'embedding' not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim <= 1 or 'embedding' in n]
    return torch.optim.AdamW([{'params': matrices, 'weight_decay': 0.05},
                              {'params': rest, 'weight_decay': 0.0}], lr=rate, betas=(0.9, 0.98))


def save(model, folder):
    """Write the weights, in half precision, and the model's open_clip configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.half().contiguous() for k, v in model.state_dict().items()}
    partial_file = folder / 'model.safetensors.partial'
    save_file(state, partial_file)
    partial_file.replace(folder / 'model.safetensors')
    config = {'model_cfg': MODEL, 'preprocess_cfg': PREPROCESS, 'short_side': SHORT_SIDE,
              'stride': STRIDE}
    (folder / 'open_clip_config.json').write_text(json.dumps(config, indent=2) + '\n')


def train(arguments):
    """Train, and leave the weights in the output folder every 250 steps."""
    random = np.random.default_rng(arguments.seed)
    frames = render_all(arguments.scenes)
    model = build_model(arguments.seed)
    if arguments.start:
        model.load_state_dict(load_file(arguments.start / 'model.safetensors'))
    tokenizer = open_clip.SimpleTokenizer(context_length=MODEL['text_cfg']['context_length'])
    optimizer = optimizer_for(model, arguments.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.rate, total_steps=arguments.steps, pct_start=0.05)
    prompts = templates('imagenet80')
    model.train()
    model.visual.output_tokens = True
    progress = tqdm(range(1, arguments.steps + 1), 'Training')
    for step in progress:
        pixels, texts, target = make_batch(frames, arguments.batch, random, prompts)
        image, patches = model.visual(normalise(pixels))
        text = model.encode_text(tokenizer(texts), normalize=True)
        target = torch.from_numpy(target)
        loss = sigmoid_loss(model_logits(model, image, text), target)
        # The class token alone leaves the patches' features to chance in so small a tower; the
        # mean of the patches, which fades out of the loss, sets them on the way.
        share = arguments.patch_share * (1 - step / arguments.steps)
        mean_patch = patches.mean(dim=1) @ model.visual.proj
        loss = loss + share * sigmoid_loss(model_logits(model, mean_patch, text), target)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f'{loss.item():.3f}', refresh=False)
        if step % 250 == 0 or step == arguments.steps:
            save(model, arguments.output)


def main(args=None):
    """Train."""
    parser = argparse.ArgumentParser(prog='python -m csa_ros.demo.train', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=4500)
    parser.add_argument('--batch', type=int, default=128, help='crops in a step')
    parser.add_argument('--scenes', type=int, default=2400, help='scenes to crop from')
    parser.add_argument('--rate', type=float, default=1e-3, help='peak learning rate')
    parser.add_argument('--patch-share', type=float, default=0.5,
                        help='how much the mean of the patches counts in the loss at the start, '
                             "beside the class token's one")
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--start', type=Path, help='folder of weights to go on from')
    parser.add_argument('--output', type=Path, default=WEIGHTS, help='folder for the weights')
    train(parser.parse_args(args))


if __name__ == '__main__':
    main()
