"""Training an autoencoder on cached activations; the model itself is run once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens import artifacts, task
from palindrome_lens.model import activations
from palindrome_lens.sae.autoencoders import (
    Autoencoder,
    Inputs,
    Loss,
    SAEConfig,
    as_samples,
    init_autoencoder,
)
from palindrome_lens.training import Log, batches, cosine


class SAEHistory(NamedTuple):
    """What happened at each step, over the batch of that step; errors are those of the inputs that
    were trained on, normalised where the configuration says so."""

    mse: Float[Tensor, "step"]
    sparsity: Float[Tensor, "step"]
    auxiliary: Float[Tensor, "step"]
    l0: Float[Tensor, "step"]
    """Latents that are not 0, per sample."""

    def rows(self) -> Iterator[dict[str, float]]:
        """What is logged, step by step."""
        for step, values in enumerate(zip(*map(Tensor.tolist, self), strict=True)):
            yield log_row(step, values)


class TrainedSAE(NamedTuple):
    """A trained autoencoder and how it came about."""

    autoencoder: Autoencoder
    history: SAEHistory


class Scaling(NamedTuple):
    """What inputs are shifted and divided by."""

    mean: Float[Tensor, "d_in"]
    scale: float


class Setup(NamedTuple):
    """What a training begins with."""

    autoencoder: Autoencoder
    data: Float[Tensor, "samples d_in"]
    scaling: Scaling | None
    optimizer: torch.optim.Optimizer


def flat_activations(
    model: TransformerBridge,
    tokens: Int64[Tensor, "strings length"],
    hook: str,
    inputs: Inputs = "string",
) -> Float[Tensor, "samples d_in"]:
    """The activations at a hook: of all positions side by side, or each position a sample of its
    own, string by string.

    Raises:
        ValueError: an unknown hook name, or one whose activations do not belong to positions.
    """
    values = activations(model, task.inputs(tokens), [hook])[hook]
    if inputs == "position" and values.shape[1] != tokens.shape[1] - 1:
        raise ValueError(
            f"What passes through {hook} has shape {tuple(values.shape)}; there are "
            f"{tokens.shape[1] - 1} positions to divide it by."
        )
    return as_samples(values, inputs)


def check_data(data: Float[Tensor, "samples d_in"]) -> None:
    """Raises:
    ValueError: no autoencoder can be trained on these activations.
    """
    if data.ndim != 2 or not data.numel():
        raise ValueError(
            f"The activations have shape {tuple(data.shape)}; they need one row for each sample."
        )
    if data.dtype != torch.float64:
        raise ValueError(f"The activations are {data.dtype}; autoencoders need torch.float64.")
    bad = ~data.isfinite().all(dim=1)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum()):,} of {len(data):,} samples hold NaN or infinity, the first in row "
            f"{int(bad.nonzero()[0])}."
        )


def prepare(config: SAEConfig, data: Float[Tensor, "samples d_in"]) -> Setup:
    """A fresh autoencoder, its inputs, and Adam.

    Raises:
        ValueError: impossible data or configuration, or a batch larger than the data.
    """
    check_data(data)
    scaling = None
    if config.normalise:
        mean = data.mean(dim=0)
        scale = float((data - mean).square().mean().sqrt())
        if scale == 0:
            raise ValueError("All samples are equal; there is nothing to normalise or to learn.")
        scaling, data = Scaling(mean, scale), (data - mean) / scale
    autoencoder = init_autoencoder(config, data)
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=config.lr, fused=True)
    return Setup(autoencoder, data, scaling, optimizer)


def train(
    config: SAEConfig,
    data: Float[Tensor, "samples d_in"],
    log: Log | None = None,
    progress: Callable[[Iterator[int]], Iterator[int]] = iter,
) -> TrainedSAE:
    """Train a fresh autoencoder with Adam.

    Dead latents are revived by AuxK in the TopK family, where ``aux_weight`` asks for it. Nothing
    is done for others: resampling would draw new atoms at steps that somebody has to choose.

    Args:
        log: called at every step with ``step``, ``mse``, ``sparsity_loss``, ``auxiliary_loss`` and
            ``l0``.
        progress: wraps the iteration over steps, for instance ``tqdm.tqdm``.

    Raises:
        ValueError: impossible data or configuration, or a batch larger than the data.
    """
    start = prepare(config, data)
    chosen = batches(len(data), config.batch_size, torch.Generator().manual_seed(config.seed))
    rows = []
    for step in progress(iter(range(config.steps))):
        loss = start.autoencoder.loss(start.data[next(chosen)])
        start.optimizer.zero_grad()
        loss.total.backward()
        update(start.autoencoder, start.optimizer, learning_rate(config, step))
        start.autoencoder.observe(loss.latents.detach())
        rows.append(measured(loss))
        if log:
            log(log_row(step, rows[-1]))
    return finish(start, rows)


def update(autoencoder: Autoencoder, optimizer: torch.optim.Optimizer, lr: float) -> None:
    """One step of Adam, with atoms kept at unit length where the architecture says so."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    if autoencoder.unit_norm and autoencoder.config.project_gradient:
        autoencoder.project_gradient()
    optimizer.step()
    if autoencoder.unit_norm:
        autoencoder.normalise_atoms()


def measured(loss: Loss) -> tuple[float, ...]:
    """One entry of each curve of the history."""
    l0 = loss.latents.count_nonzero().item() / len(loss.latents)
    return loss.mse.item(), loss.sparsity.item(), loss.auxiliary.item(), l0


def log_row(step: int, values: Sequence[float]) -> dict[str, float]:
    """One entry of each curve, as it is logged."""
    names = ("mse", "sparsity_loss", "auxiliary_loss", "l0")
    return {"step": step, **dict(zip(names, values, strict=True))}


def finish(start: Setup, rows: Sequence[Sequence[float]]) -> TrainedSAE:
    """The autoencoder of plain activations, ready for use."""
    if start.scaling:
        start.autoencoder.fold(*start.scaling)
    history = torch.tensor(rows, dtype=torch.float64)
    return TrainedSAE(start.autoencoder.eval(), SAEHistory(*history.T.contiguous()))


def learning_rate(config: SAEConfig, step: int) -> float:
    """The learning rate of a step, counted from 0."""
    if config.schedule == "constant":
        return config.lr
    return config.lr * cosine(step, config.steps)


def trained(
    config: SAEConfig,
    data: Float[Tensor, "samples d_in"],
    log: Log | None = None,
    **kwargs: Any,
) -> TrainedSAE:
    """The autoencoder of a configuration and data, found in the store or trained on the spot.

    ``data`` is part of what makes it: the activations of another model never find this one's
    autoencoder. ``log`` gets the same rows in either case. Other keyword arguments go to
    :func:`train`.

    Raises:
        ValueError: impossible data or configuration, or a batch larger than the data.
    """
    check_data(data)
    is_stored = True

    def make() -> artifacts.Tensors:
        nonlocal is_stored
        is_stored = False
        result = train(config, data, log, **kwargs)
        weights = {
            f"sae.{name}": weight for name, weight in result.autoencoder.state_dict().items()
        }
        return weights | {
            f"history.{name}": value for name, value in result.history._asdict().items()
        }

    made_from = {"sae": config.model_dump(), "data": artifacts.fingerprint(data)}
    tensors = artifacts.find_or_make("sae", made_from, __name__, make)
    autoencoder = init_autoencoder(config, data)
    autoencoder.load_state_dict(
        {name[4:]: value for name, value in tensors.items() if name.startswith("sae.")}
    )
    history = SAEHistory(*(tensors[f"history.{name}"] for name in SAEHistory._fields))
    if log and is_stored:
        for row in history.rows():
            log(row)
    return TrainedSAE(autoencoder.eval(), history)
