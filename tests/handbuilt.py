"""Two models that tests of analyses share: one compiled by hand, and one of noise."""

import torch
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.compiled import LOUDNESS as LOUDNESS
from palindrome_lens.compiled import SHARPNESS as SHARPNESS
from palindrome_lens.compiled import Compiled, compile_reversal
from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.task import Task

HandBuilt = Compiled


def build() -> HandBuilt:
    """The compiled model of a tiny task."""
    return compile_reversal(Task(alphabet="abcd", half_length=2))


def random_model(task: Task, normalization: str | None = "LN") -> TransformerBridge:
    """Two heads, and weights that are nowhere 0 or 1."""
    config = ModelConfig.model_validate(
        {"n_heads": 2, "d_head": 5, "normalization_type": normalization}
    )
    native = init_model(config, task)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in native.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=0.3)
    return hooked(native, config, task)
