"""Small RADIO models for tests, in every form in which their weights are found."""

import argparse

from csa_ros.model.weights.catalogue import RADIO_PRESETS
from csa_ros.model.weights.catalogue import RadioPreset
import numpy as np
from radio import REFERENCE
from safetensors.torch import save_file
import torch

NAME = 'tiny-radio'
FILE = 'tiny-radio_half.pth.tar'
TEXT_WIDTH, TEXT_LAYERS, TEXT_WORDS, TEXT_LENGTH = 72, 2, 400, 64
# The tower of the file gives so many numbers.
EMBED_DIM = 48


def register(monkeypatch, **fields):
    """Make the tower of the reference known as a preset."""
    given = {'width': 96, 'layers': 3, 'heads': 3, 'tower': 0.5, 'table': 32, **fields}
    monkeypatch.setitem(RADIO_PRESETS, NAME, RadioPreset(
        'Tiny-RADIO', ('owner/radio', FILE), **given))


def reference_weights():
    """Return the weights of the reference by their released names, in float16."""
    with np.load(REFERENCE) as arrays:
        return {name.replace('.grandma', '.gamma'): torch.from_numpy(arrays[name])
                for name in arrays.files if name.startswith(
                    ('base_model.', '_heads.', '_feature_projections.', 'input_conditioner.'))}


def released(weights=None):
    """Return a document as NVIDIA releases it, with what only training wanted."""
    weights = dict(reference_weights() if weights is None else weights)
    weights['_loss_states.0.value'] = torch.ones(3)
    weights['adaloss'] = torch.ones(1)
    teachers = [{'name': name} for name in ('clip', 'siglip2', 'dino_v2', 'sam')]
    return {'state_dict': weights, 'args': argparse.Namespace(
        model='vit_tiny_patch16', teachers=teachers), 'epoch': 3}


def hugging_face(weights=None):
    """Return a tower as the hub has it: without heads, under other names."""
    weights = reference_weights() if weights is None else weights
    found = {name.replace('base_model.', 'radio_model.model.').replace('.gamma', '.grandma'): value
             for name, value in weights.items() if name.startswith('base_model.')}
    found['radio_model.summary_idxs'] = torch.tensor([0, 1])
    found.update({f'radio_model.{name}': value for name, value in weights.items()
                  if name.startswith('input_conditioner.')})
    return found


def timm_names(weights=None):
    """Return a tower as timm has it."""
    weights = reference_weights() if weights is None else weights
    embedder = weights['base_model.patch_generator.embedder.weight']
    tokens = weights['base_model.patch_generator.cls_token.token'][None]
    found = {name.removeprefix('base_model.'): value for name, value in weights.items()
             if name.startswith('base_model.blocks.')}
    return {**found, 'patch_embed.proj.weight': embedder.unflatten(1, (3, 16, 16)),
            'patch_embed.proj.bias': torch.zeros(len(embedder)),
            'pos_embed': weights['base_model.patch_generator.pos_embed'],
            'cls_token': tokens[:, :1], 'reg_token': tokens[:, 1:]}


def heads(weights=None):
    """Return the heads alone."""
    weights = reference_weights() if weights is None else weights
    return {name: value for name, value in weights.items()
            if name.startswith(('_heads.', '_feature_projections.'))}


def text_weights(embed_dim=EMBED_DIM):
    """Return a text tower by the names that SigLIP2's has in the hub, in float32."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(shape, generator=generator) * 0.1

    found = {'text_model.embeddings.token_embedding.weight': random(TEXT_WORDS, TEXT_WIDTH),
             'text_model.embeddings.position_embedding.weight': random(TEXT_LENGTH, TEXT_WIDTH)}
    linears = {'text_model.head': (embed_dim, TEXT_WIDTH)}
    norms = ['text_model.final_layer_norm']
    for index in range(TEXT_LAYERS):
        layer = f'text_model.encoder.layers.{index}'
        linears.update({f'{layer}.self_attn.{part}_proj': (TEXT_WIDTH, TEXT_WIDTH)
                        for part in ('q', 'k', 'v', 'out')})
        linears.update({f'{layer}.mlp.fc1': (4 * TEXT_WIDTH, TEXT_WIDTH),
                        f'{layer}.mlp.fc2': (TEXT_WIDTH, 4 * TEXT_WIDTH)})
        norms += [f'{layer}.layer_norm1', f'{layer}.layer_norm2']
    for name, shape in linears.items():
        found.update({f'{name}.weight': random(*shape), f'{name}.bias': random(shape[0])})
    for name in norms:
        found.update({f'{name}.weight': 1 + random(TEXT_WIDTH),
                      f'{name}.bias': random(TEXT_WIDTH)})
    return found


def siglip2():
    """Return both towers of a SigLIP2, of which the first is of no use."""
    return {'logit_scale': torch.ones(1), 'logit_bias': torch.ones(1), **text_weights(),
            'vision_model.head.probe': torch.ones(1, 1, 8)}


def write_folder(folder, document=None, text=True, tokenizer=True):
    """Write what somebody fetched by hand, and return the file with the tower."""
    folder.mkdir(exist_ok=True)
    path = folder / FILE
    torch.save(released() if document is None else document, path)
    if text:
        save_file(siglip2(), folder / 'siglip2.safetensors')
    if tokenizer:
        (folder / 'tokenizer.json').write_bytes(tokenizer_bytes())
    return path


def tokenizer_bytes():
    """Return what stands for a tokenizer where nothing is read by it."""
    return b'{"version": "1.0"}'
