"""Experiment tracking with Weights & Biases: offline unless the reader asks for more."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, cast, get_args

import wandb

from palindrome_lens.artifacts import store

Mode = Literal["offline", "online", "disabled"]
TRAINING_PROJECT = "toy-problem-hooked-transformer"
SAE_PROJECT = "toy-problem-hooked-transformer-sae"


@contextmanager
def tracked(
    project: str, config: dict[str, Any], mode: str | None = None, folder: Path | None = None
) -> Iterator[wandb.Run]:
    """A run that is finished whatever happens inside; ``run.log`` takes one row of numbers.

    Args:
        mode: "offline" (written to disk, nothing sent), "online", or "disabled"; by default what
            the environment variable ``WANDB_MODE`` says, and "offline" where it says nothing.
        folder: where the offline run is written; by default ``wandb`` beside the artifact store.

    Raises:
        ValueError: an unknown mode.
    """
    chosen = mode or os.environ.get("WANDB_MODE", "offline")
    if chosen not in get_args(Mode):
        raise ValueError(
            f"The W&B mode is {chosen!r}; 'offline', 'online' and 'disabled' are allowed."
        )
    folder = folder or store().parent / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    # Banners and progress lines would differ from run to run in the stored outputs.
    settings = wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True)
    with wandb.init(
        project=project, config=config, mode=cast(Mode, chosen), dir=str(folder), settings=settings
    ) as run:
        yield run
