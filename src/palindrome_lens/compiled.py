"""A model compiled by hand, whose circuit is known: a control for what analyses say.

Tracr (Lindner et al. 2023) compiles programs, list reversal among them, into weights. This is the
same idea for one program and one layer.
"""

from typing import Any, NamedTuple

import torch
from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import vocabulary

SHARPNESS = 12.0
"""Attention score of a mirrored query on its mirror position; every other score is 0."""
LOUDNESS = 30.0
"""Length of what the head writes when it attends to a letter with weight 1."""


class Compiled(NamedTuple):
    """The model, its task, and where what was put."""

    task: Task
    model: TransformerBridge
    ids: dict[str, int]
    """Token ids by character."""
    read: range
    """Dimensions that say which token stands here, one each."""
    place: range
    """Dimensions that say which position this is, one each."""
    write: range
    """Dimensions that say which token comes next, one each: unembedded as they are."""


def compile_reversal(task: Task) -> Compiled:
    """A head that copies from the mirror position, and an MLP that writes bar and end alone.

    The circuit at each mirrored query is known because it was put there: the key at the mirror
    position, and nothing else.

    Token and position are one-hot, so that every embedding has the same mean and length and the
    first LayerNorm is one affine map. It is undone by the weights that read from it.
    """
    ids = vocabulary(task)
    vocab, length = len(ids), task.n_positions + 1
    read = range(vocab)
    place = range(vocab, vocab + length)
    write = range(vocab + length, 2 * vocab + length)
    d = write.stop
    config = ModelConfig(d_model=d, d_head=d, d_mlp=4)
    model: Any = init_model(config, task)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    block = model.layers[0]
    with torch.no_grad():
        for norm in (block.ln1, block.ln2, model.ln_out):
            norm.weight.fill_(1.0)
        model.tok_embed.weight[:, list(read)] = torch.eye(vocab, dtype=torch.float64)
        model.pos.weight[:, list(place)] = torch.eye(length, dtype=torch.float64)
        mean = 2 / d
        deviation = (mean - mean**2 + block.ln1.eps) ** 0.5

        # The query of position p is the one-hot of its mirror position; a key is its own one-hot.
        for p in task.mirrored_positions:
            block.attn.q.weight[task.mirror_position(p), place[p]] = deviation
            block.attn.q.bias[task.mirror_position(p)] += mean
        for p in range(length):
            block.attn.k.weight[p, place[p]] = deviation * SHARPNESS * d**0.5
            block.attn.k.bias[p] = mean * SHARPNESS * d**0.5
        for letter in task.alphabet:
            t = ids[letter]
            block.attn.v.weight[t, read[t]] = deviation * LOUDNESS
            block.attn.v.bias[t] = mean * LOUDNESS
            block.attn.o.weight[write[t], t] = 1.0

        # Bar and end follow from the position alone. A difference of two dimensions cancels the
        # mean, so that the second LayerNorm cannot make a neuron fire elsewhere.
        for neuron, p, t in ((0, task.half_length, ids["|"]), (1, task.n_positions - 1, ids[">"])):
            block.mlp.fc_in.weight[neuron, place[p]] = 1.0
            block.mlp.fc_in.weight[neuron, place[0]] = -1.0
            block.mlp.fc_out.weight[write[t], neuron] = 10 * LOUDNESS
        model.head.weight[:, list(write)] = torch.eye(vocab, dtype=torch.float64)
    return Compiled(task, hooked(model, config, task), ids, read, place, write)
