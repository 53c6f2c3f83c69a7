"""Training an autoencoder on cached activations; the model itself is run once."""

import math
import sys
from types import ModuleType
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

import palindrome_lens.training
from palindrome_lens import artifacts
from palindrome_lens.model import activations
from palindrome_lens.sae import autoencoders
from palindrome_lens.sae.autoencoders import Autoencoder, SAEConfig, TopK, init_autoencoder
from palindrome_lens.task import inputs
from palindrome_lens.training import Log, batches


class SAEHistory(NamedTuple):
    """What happened at each step, over the batch of that step."""

    mse: Float[Tensor, "step"]
    sparsity: Float[Tensor, "step"]


class TrainedSAE(NamedTuple):
    """A trained autoencoder and how it came about."""

    autoencoder: Autoencoder
    history: SAEHistory


def flat_activations(
    model: TransformerBridge, tokens: Int64[Tensor, "strings length"], hook: str
) -> Float[Tensor, "strings d_in"]:
    """The activations at a hook, those of all positions side by side.

    Raises:
        ValueError: an unknown hook name.
    """
    return activations(model, inputs(tokens), [hook])[hook].flatten(start_dim=1)


def train(
    config: SAEConfig,
    data: Float[Tensor, "strings d_in"],
    log: Log | None = None,
) -> TrainedSAE:
    """Train a fresh autoencoder with Adam; a TopK decoder's atoms are kept at unit length.

    Raises:
        ValueError: a batch larger than the data, or an impossible ``k``.
    """
    autoencoder = init_autoencoder(config, data)
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=config.lr)
    chosen = batches(len(data), config.batch_size, torch.Generator().manual_seed(config.seed))
    rows = []
    for step in range(config.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        loss = autoencoder.loss(data[next(chosen)])
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        if isinstance(autoencoder, TopK):
            _normalise_atoms(autoencoder)
        rows.append((loss.mse.item(), loss.sparsity.item()))
        if log:
            log({"step": step, "mse": rows[-1][0], "sparsity_loss": rows[-1][1]})
    history = torch.tensor(rows, dtype=torch.float64)
    return TrainedSAE(autoencoder.eval(), SAEHistory(history[:, 0], history[:, 1]))


def learning_rate(config: SAEConfig, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    if config.schedule == "constant":
        return config.lr
    return config.lr * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def _normalise_atoms(autoencoder: Autoencoder) -> None:
    with torch.no_grad():
        autoencoder.W_dec.div_(autoencoder.W_dec.norm(dim=1, keepdim=True))


def trained(
    config: SAEConfig,
    data: Float[Tensor, "strings d_in"],
    log: Log | None = None,
) -> TrainedSAE:
    """The autoencoder of a configuration and data, found in the store or trained on the spot.

    ``data`` is part of what makes it: the activations of another model never find this one's
    autoencoder. ``log`` gets the same rows in either case.
    """
    found = True

    def make() -> artifacts.Tensors:
        nonlocal found
        found = False
        result = train(config, data, log)
        weights = {
            f"sae.{name}": weight for name, weight in result.autoencoder.state_dict().items()
        }
        return weights | {
            f"history.{name}": value for name, value in result.history._asdict().items()
        }

    made_from = {"sae": config.model_dump(), "data": artifacts.fingerprint(data)}
    tensors = artifacts.find_or_make("sae", made_from, _code(), make)
    autoencoder = init_autoencoder(config, data)
    autoencoder.load_state_dict(
        {name[4:]: value for name, value in tensors.items() if name.startswith("sae.")}
    )
    history = SAEHistory(tensors["history.mse"], tensors["history.sparsity"])
    if log and found:
        for step, (mse, sparsity) in enumerate(zip(*map(Tensor.tolist, history), strict=True)):
            log({"step": step, "mse": mse, "sparsity_loss": sparsity})
    return TrainedSAE(autoencoder.eval(), history)


def _code() -> list[ModuleType]:
    return [autoencoders, palindrome_lens.training, sys.modules[__name__]]
