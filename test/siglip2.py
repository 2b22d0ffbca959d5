"""A small random text tower of SigLIP2 in both forms, and a tokenizer of Gemma's kind."""

from functools import partial

from open_clip.transformer import TextTransformer
import pytest
import torch
from torch import nn

WIDTH, HIDDEN, LAYERS, CONTEXT = 144, 538, 3, 64
WORDS = ('road', 'sky', 'traffic', 'light', 'photo', 'of', 'a', 'the', 'red', 'car')


def make_tower(seed=0, vocabulary=400):
    """Return one as open_clip builds it of the config of ViT-SO400M-16-SigLIP2-256, in small."""
    torch.manual_seed(seed)
    tower = TextTransformer(
        context_length=CONTEXT, vocab_size=vocabulary, width=WIDTH, heads=2, layers=LAYERS,
        mlp_ratio=3.7362, output_dim=32, no_causal_mask=True, pool_type='last', proj_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6), act_layer=partial(nn.GELU, approximate='tanh'))
    for weight in tower.parameters():
        nn.init.normal_(weight, std=0.15)
    # What sets prompts apart.
    nn.init.normal_(tower.token_embedding.weight)
    return tower.eval().requires_grad_(False)


def own_form(tower):
    """Return the weights of a tower as `fetch_model` writes them."""
    return {f'text.{name}': weight.contiguous() for name, weight in tower.state_dict().items()}


def hub_form(tower):
    """Return the weights of a tower as the Hugging Face hub has them."""
    weights = {}
    for name, weight in tower.state_dict().items():
        for ours, theirs in (
                ('token_embedding', 'embeddings.token_embedding'),
                ('positional_embedding', 'embeddings.position_embedding.weight'),
                ('transformer.resblocks', 'encoder.layers'), ('ln_final', 'final_layer_norm'),
                ('text_projection', 'head'), ('.attn.', '.self_attn.'), ('.ln_', '.layer_norm'),
                ('mlp.c_fc', 'mlp.fc1'), ('mlp.c_proj', 'mlp.fc2')):
            name = name.replace(ours, theirs)
        if 'in_proj_' in name:
            for part, third in zip('qkv', weight.chunk(3)):
                weights['text_model.' + name.replace('in_proj_', f'{part}_proj.')] = (
                    third.contiguous())
        else:
            weights[f'text_model.{name}'] = weight.contiguous()
    return weights


def make_tokenizer():
    """Return the content of a tokenizer.json of Gemma's kind: BPE, bytes for what is unknown."""
    tokenizers = pytest.importorskip('tokenizers')
    special = ['<pad>', '<eos>', '<bos>', '<unk>']
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(
        unk_token='<unk>', fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = tokenizers.normalizers.Replace(' ', '▁')
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split(' ', 'merged_with_previous')
    pieces = [*special, *(f'<0x{value:02X}>' for value in range(256))]
    tokenizer.train_from_iterator(
        [f' {word}' for word in WORDS * 3],
        tokenizers.trainers.BpeTrainer(vocab_size=360, special_tokens=pieces,
                                       show_progress=False))
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single='$A <eos>', special_tokens=[('<eos>', 1)])
    return tokenizer.to_str().encode()
