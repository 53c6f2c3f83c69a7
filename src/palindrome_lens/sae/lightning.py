"""The same training under Lightning, which runs it on several processes, devices or machines.

An optional extra: ``pip install 'palindrome-lens[lightning]'``. Every process takes an equal share
of each batch of the plain loop, and gradients are averaged. Where a loss is a mean over samples
the result is that of the plain loop, up to rounding. It is not for the KL terms, which compare
the mean of a batch, nor for BatchTopK and Matryoshka, which select within a batch: there each
process knows its own share only.
"""

from typing import Any, cast

import lightning
import torch
from jaxtyping import Float, Int64
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from palindrome_lens.sae.autoencoders import SAEConfig
from palindrome_lens.sae.training import (
    TrainedSAE,
    finish,
    learning_rate,
    log_row,
    measured,
    prepare,
    update,
)
from palindrome_lens.training import Log, batches


class SAEModule(lightning.LightningModule):
    """An autoencoder, its inputs and its optimizer; a step is that of the plain loop.

    Raises:
        ValueError: impossible data or configuration.
    """

    def __init__(self, config: SAEConfig, data: Float[Tensor, "samples d_in"]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.config = config
        self.start = prepare(config, data)
        self.autoencoder = self.start.autoencoder
        self.rows: list[list[float]] = []

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return self.start.optimizer

    def train_dataloader(self) -> DataLoader[Tensor]:
        """The batches of the plain loop, as row numbers; the same in every process."""
        generator = torch.Generator().manual_seed(self.config.seed)
        chosen = batches(len(self.start.data), self.config.batch_size, generator)
        rows = [next(chosen) for _ in range(self.config.steps)]
        return DataLoader(cast(Any, rows), batch_size=None, shuffle=False)

    def training_step(self, batch: Int64[Tensor, "batch"], step: int) -> None:
        share = batch.tensor_split(self.trainer.world_size)[self.global_rank]
        loss = self.autoencoder.loss(self.start.data[share.cpu()].to(self.device))
        optimizer = cast(Any, self.optimizers())
        optimizer.zero_grad()
        self.manual_backward(loss.total)
        update(self.autoencoder, optimizer, learning_rate(self.config, step))
        # What a latent did counts wherever it did it.
        everywhere = cast(Tensor, self.all_gather(loss.latents.detach()))
        self.autoencoder.observe(everywhere.reshape(-1, everywhere.shape[-1]))
        row = torch.tensor(measured(loss), dtype=torch.float64, device=self.device)
        self.rows.append(cast(Tensor, self.trainer.strategy.reduce(row)).tolist())
        self.log_dict(log_row(step, self.rows[-1]), rank_zero_only=True)


def fit(
    config: SAEConfig,
    data: Float[Tensor, "samples d_in"],
    log: Log | None = None,
    **trainer: Any,
) -> TrainedSAE:
    """Train as :func:`palindrome_lens.sae.training.train` does, by Lightning.

    Args:
        trainer: goes to ``lightning.Trainer``: ``devices``, ``strategy``, ``num_nodes``, ….

    Raises:
        ValueError: impossible data or configuration, or a batch that cannot be shared equally.
    """
    module = SAEModule(config, data)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "devices": 1,
    }
    runner = lightning.Trainer(
        **{**quiet, **trainer}, max_steps=config.steps, max_epochs=1, use_distributed_sampler=False
    )
    if config.batch_size % runner.world_size:
        raise ValueError(
            f"A batch of {config.batch_size} cannot be shared equally by {runner.world_size} "
            "processes."
        )
    runner.fit(module)
    start = module.start._replace(autoencoder=module.autoencoder.cpu())
    result = finish(start, module.rows)
    if log:
        for row in result.history.rows():
            log(row)
    return result
