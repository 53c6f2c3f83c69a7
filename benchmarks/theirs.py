"""Other packages at the same work: one-layer transformers and autoencoders, each by its own step.

Runs in the environment that ``make saelens`` makes, where this project is not installed.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from dictionary_learning import trainers
from sae_lens import saes
from sae_lens.saes.sae import TrainStepInput
from sparsify import SparseCoder, SparseCoderConfig, sparse_coder, utils
from torch import Tensor
from transformer_lens import HookedTransformer, HookedTransformerConfig
from worker import drawn, naive_update, palindrome_tokens, serve

D_IN = 128
SAELENS = {
    "topk": (saes.TopKTrainingSAE, saes.TopKTrainingSAEConfig),
    "relu-l1": (saes.StandardTrainingSAE, saes.StandardTrainingSAEConfig),
    "gated": (saes.GatedTrainingSAE, saes.GatedTrainingSAEConfig),
    "jumprelu": (saes.JumpReLUTrainingSAE, saes.JumpReLUTrainingSAEConfig),
}
DICTIONARY_LEARNING = {
    "topk": trainers.TopKTrainer,
    "relu-l1": trainers.StandardTrainer,
    "gated": trainers.GatedSAETrainer,
    "jumprelu": trainers.JumpReluTrainer,
}


def hooked_transformer(steps: Iterator[int], batch_size: int, dtype: str) -> None:
    """The book's model as TransformerLens 3 has it, trained as its users write it."""
    torch.manual_seed(0)
    shape = {"n_layers": 1, "d_model": 16, "n_heads": 1, "d_head": 16, "d_mlp": 64}
    config = HookedTransformerConfig(
        **shape,
        n_ctx=9,
        d_vocab=29,
        act_fn="relu",
        normalization_type="LN",
        dtype=getattr(torch, dtype),
        device="cpu",
    )
    model = HookedTransformer(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, betas=(0.9, 0.95))
    batches = palindrome_tokens(64 * batch_size).split(batch_size)
    for step in steps:
        naive_update(model, model(drawn(batches, step), return_type="loss"), optimizer)


def sae_lens(steps: Iterator[int], architecture: str, d_sae: int, k: int, **data: Any) -> None:
    sae_class, config_class = SAELENS[architecture]
    own = {"k": k} if architecture == "topk" else {}
    sae = sae_class(config_class(d_in=D_IN, d_sae=d_sae, dtype=data["dtype"], **own))
    optimizer = torch.optim.Adam(sae.parameters(), lr=3e-3)
    weights = {"l1": 0.1, "l0": 0.1}
    batches = _batches(**data)
    for step in steps:
        given = TrainStepInput(drawn(batches, step), weights, None, step, False)
        naive_update(sae, sae.training_forward_pass(given).loss, optimizer)


def dictionary_learning(
    steps: Iterator[int], architecture: str, d_sae: int, k: int, **data: Any
) -> None:
    own = {"k": k} if architecture == "topk" else {}
    trainer = DICTIONARY_LEARNING[architecture](
        steps=100_000,
        activation_dim=D_IN,
        dict_size=d_sae,
        layer=0,
        lm_name="none",
        seed=0,
        device="cpu",
        **own,
    )
    trainer.ae.to(getattr(torch, data["dtype"]))
    batches = _batches(**data)
    for step in steps:
        trainer.update(step, drawn(batches, step))


def sparsify(steps: Iterator[int], architecture: str, d_sae: int, k: int, **data: Any) -> None:
    """Only TopK is there. Its own trainer wants a language model; this is that trainer's step."""
    assert architecture == "topk"
    # Where Triton is installed it is used, and needs a GPU; this is the package's own other way.
    sparse_coder.decoder_impl = utils.eager_decode
    dtype = getattr(torch, data["dtype"])
    sae = SparseCoder(D_IN, SparseCoderConfig(num_latents=d_sae, k=k), "cpu", dtype)
    optimizer = torch.optim.Adam(sae.parameters(), lr=3e-3)
    batches = _batches(**data)
    for step in steps:
        optimizer.zero_grad()
        sae(drawn(batches, step)).fvu.backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        sae.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        sae.set_decoder_norm_to_unit_norm()


def _batches(batch_size: int, dtype: str) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    return torch.randn(8 * batch_size, D_IN, dtype=getattr(torch, dtype)).split(batch_size)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(
        {
            "HookedTransformer": hooked_transformer,
            "SAELens": sae_lens,
            "dictionary_learning": dictionary_learning,
            "sparsify": sparsify,
        }
    )
