"""How one library reads a file of the other's; runs where either of them is installed."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
ANSWERS = "answers.safetensors"
BOUND = 1e-6
FAULT = 10.0


class Answers(NamedTuple):
    """What an autoencoder says about some samples."""

    latents: Tensor
    rebuilt: Tensor


class Differences(NamedTuple):
    """How far the reader of a folder is from the answers of its writer."""

    latents_apart: float
    """Largest absolute difference, over all samples and latents."""
    rebuilt_apart: float
    """Largest absolute difference, over all samples and inputs."""
    active_in_one: int
    """(Sample, latent) pairs where the latent is 0 for one of the two only."""
    faulty: int
    """Copies of the folder with one fault each."""
    noticed: int
    """Those of them that differ by more than ``BOUND``."""


Read = Callable[[Path, Tensor], Answers]


def compare(folder: Path, samples: Tensor, read: Read) -> Differences:
    """Hold what a reader makes of a folder, and of damaged copies, against the stored answers."""
    wanted = Answers(**load_file(folder / ANSWERS))
    found = read(folder, samples)
    copies = [read(copy, samples) for copy in damaged(folder, wanted)]
    return Differences(
        *distances(found, wanted),
        int(((found.latents != 0) != (wanted.latents != 0)).sum()),
        len(copies),
        sum(max(distances(copy, wanted)) > BOUND for copy in copies),
    )


def distances(found: Answers, wanted: Answers) -> tuple[float, float]:
    """Largest absolute differences of the latents and of the reconstructions; NaN counts as ∞."""
    both = ((a - b).abs().nan_to_num(torch.inf).max() for a, b in zip(found, wanted, strict=True))
    latents, rebuilt = map(float, both)
    return latents, rebuilt


def damaged(folder: Path, answers: Answers) -> Iterator[Path]:
    """Copies of the folder with one fault each.

    In one the inputs are centred where they should not be, or the reverse. In each of the others
    one number of one tensor is changed by ``FAULT``, in the direction that silences a latent: that
    of the latent that is active most often, and of the input whose reconstruction varies most.
    """
    latent = int((answers.latents != 0).sum(dim=0).argmax())
    place = int(answers.rebuilt.var(dim=0).argmax())
    at = {"W_enc": (place, latent), "W_dec": (latent, place), "b_dec": (place,)}
    copy = folder / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, ignore=lambda *_: ["again"])
    for name in (tensors := load_file(folder / WEIGHTS)):
        changed = tensors[name].clone()
        changed[at.get(name, (latent,))] += FAULT if name == "threshold" else -FAULT
        save_file({**tensors, name: changed}, copy / WEIGHTS)
        yield copy
    save_file(tensors, copy / WEIGHTS)
    layout = json.loads((folder / CONFIG).read_bytes())
    layout["apply_b_dec_to_input"] = not layout["apply_b_dec_to_input"]
    (copy / CONFIG).write_text(json.dumps(layout), encoding="utf-8")
    yield copy
    shutil.rmtree(copy)
