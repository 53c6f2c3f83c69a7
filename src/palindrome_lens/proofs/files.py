"""Models as the files that the checker reads."""

import json

import torch
from safetensors.torch import save
from torch import nn

from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.proofs.checker import read_weights
from palindrome_lens.task import Task

EPS = 1e-5
"""What every LayerNorm adds to the variance: PyTorch's default, which the models are built with."""


def exported(model: nn.Module, task: Task, n_heads: int = 1) -> bytes:
    """A model as the file that the checker reads: float64, with what shapes do not say.

    Models are those of :func:`init_model`, with ReLU and LayerNorm, with hooks or without.
    """
    weights = {
        name.replace("._original_component", ""): weight.detach().to(torch.float64)
        for name, weight in model.named_parameters()
    }
    about = {
        "alphabet": task.alphabet,
        "half_length": task.half_length,
        "eps": EPS,
        "n_heads": n_heads,
        "act_fn": "relu",
    }
    # One entry: several would be written in any order.
    metadata = {"model": json.dumps(about)}
    return save({name: w.contiguous() for name, w in weights.items()}, metadata=metadata)


def loaded(weights: bytes) -> tuple[Task, nn.Module]:
    """The task and the model of a file that :func:`exported` made.

    Raises:
        ValueError: the file is none that the checker takes.
    """
    tensors, alphabet, half_length, _ = read_weights(weights)
    task = Task(alphabet=alphabet, half_length=half_length)
    sizes = {
        "d_model": tensors["tok_embed.weight"].shape[1],
        "d_head": tensors["layers.0.attn.q.weight"].shape[0],
        "d_mlp": tensors["layers.0.mlp.fc_in.weight"].shape[0],
    }
    model = init_model(ModelConfig(**sizes), task)
    model.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    return task, model.eval()
