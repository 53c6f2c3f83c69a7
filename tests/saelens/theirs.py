"""SAELens's half of the round trip: it reads our exports and writes files of its own.

Runs in an environment of its own (``tests/saelens/requirements.lock``), where this package is not
installed; ``saelens/round_trip.py`` starts it.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sae_lens as lens
import torch
from sae_lens.saes.sae import TrainStepInput
from saelens.comparison import ANSWERS, Answers, compare
from safetensors.torch import load_file, save_file
from torch import Tensor

PACKAGES = ("sae-lens", "transformer-lens", "torch")
D_SAE, STEPS, BATCH = 64, 150, 512
HOOK = "blocks.0.hook_mlp_out"


@dataclass
class Kind:
    """One architecture of SAELens: the class that trains, and its settings."""

    sae: Any
    config: Any
    settings: dict[str, Any]
    weights: dict[str, float] = field(default_factory=dict)
    """What its loss terms are multiplied by, which its trainer would hand over."""


TRAINED = {
    "standard": Kind(lens.StandardTrainingSAE, lens.StandardTrainingSAEConfig, {}, {"l1": 0.1}),
    "gated": Kind(lens.GatedTrainingSAE, lens.GatedTrainingSAEConfig, {}, {"l1": 0.1}),
    "topk": Kind(
        lens.TopKTrainingSAE,
        lens.TopKTrainingSAEConfig,
        {"k": 4, "rescale_acts_by_decoder_norm": False},
    ),
    "topk, latents in atom lengths": Kind(
        lens.TopKTrainingSAE, lens.TopKTrainingSAEConfig, {"k": 4}
    ),
    "jumprelu": Kind(
        lens.JumpReLUTrainingSAE,
        lens.JumpReLUTrainingSAEConfig,
        {"jumprelu_init_threshold": 0.5, "jumprelu_bandwidth": 0.5},
        {"l0": 0.1},
    ),
    "batchtopk": Kind(lens.BatchTopKTrainingSAE, lens.BatchTopKTrainingSAEConfig, {"k": 4}),
    "matryoshka_batchtopk": Kind(
        lens.MatryoshkaBatchTopKTrainingSAE,
        lens.MatryoshkaBatchTopKTrainingSAEConfig,
        {"k": 4, "matryoshka_widths": [D_SAE // 4, D_SAE // 2, D_SAE]},
    ),
}
SMALL = {
    "standard": (lens.StandardSAE, lens.StandardSAEConfig, {}),
    "gated": (lens.GatedSAE, lens.GatedSAEConfig, {}),
    "topk": (lens.TopKSAE, lens.TopKSAEConfig, {"k": 2}),
    "topk, latents in atom lengths": (
        lens.TopKSAE,
        lens.TopKSAEConfig,
        {"k": 2, "rescale_acts_by_decoder_norm": True},
    ),
    "jumprelu": (lens.JumpReLUSAE, lens.JumpReLUSAEConfig, {}),
}


def read(folder: Path, samples: Tensor) -> Answers:
    """What SAELens makes of a folder."""
    sae = lens.SAE.load_from_disk(folder)
    with torch.no_grad():
        latents = sae.encode(samples)
        return Answers(latents, sae.decode(latents))


def trained(kind: Kind, x: Tensor, centred: bool) -> Any:
    """One of SAELens's own, trained by its own step, for long enough to leave its start."""
    torch.manual_seed(0)
    config = kind.config(
        d_in=x.shape[1],
        d_sae=D_SAE,
        dtype="float64",
        apply_b_dec_to_input=centred,
        metadata=lens.saes.sae.SAEMetadata(hook_name=HOOK),
        **kind.settings,
    )
    sae = kind.sae(config)
    sae.b_dec.data = x.mean(dim=0)
    # Its saved jumprelu files mix float32 with float64: the threshold stays in float32.
    optimizer = torch.optim.Adam(sae.parameters(), lr=3e-3)
    for step in range(STEPS):
        batch = x[torch.randint(len(x), (BATCH,))]
        given = TrainStepInput(batch, kind.weights, None, step, False)
        optimizer.zero_grad()
        sae.training_forward_pass(given).loss.backward()
        optimizer.step()
    return sae


def small(architecture: str, d_in: int, centred: bool) -> Any:
    """An untrained one with few weights, all of them whole eighths."""
    sae_class, config_class, settings = SMALL[architecture]
    metadata = lens.saes.sae.SAEMetadata(hook_name=HOOK)
    sae = sae_class(
        config_class(
            d_in=d_in,
            d_sae=5,
            dtype="float64",
            apply_b_dec_to_input=centred,
            metadata=metadata,
            **settings,
        )
    )
    generator = torch.Generator().manual_seed(3)
    for parameter in sae.parameters():
        parameter.data = torch.randint(-8, 9, parameter.shape, generator=generator).double() / 8
    return sae


def written(folder: Path, samples: dict[str, Tensor]) -> Iterator[tuple[Path, Tensor]]:
    """Write SAELens's own; each with the inputs that it belongs to."""
    for centred in (True, False):
        suffix = "" if centred else ", b_dec not subtracted"
        for name, kind in TRAINED.items():
            sae, where = (
                trained(kind, samples["string"], centred),
                folder / "string" / (name + suffix),
            )
            # What selects among a whole batch is saved as a jumprelu.
            (sae.save_inference_model if "batchtopk" in name else sae.save_model)(where)
            yield where, samples["string"]
        for name in SMALL:
            where = folder / "specimen" / (name + suffix)
            small(name, samples["specimen"].shape[1], centred).save_model(where)
            yield where, samples["specimen"]


def write_refused(folder: Path) -> None:
    """What SAELens saves and cannot be an autoencoder of ours."""
    sizes: dict[str, Any] = {"d_in": 4, "d_sae": 6, "dtype": "float64"}
    metadata = lens.saes.sae.SAEMetadata
    at = {"metadata": metadata(hook_name=HOOK)}
    across = {
        "d_out": 3,
        "apply_b_dec_to_input": False,
        "metadata": metadata(hook_name=HOOK, hook_name_out="hook_embed"),
    }
    saes = {
        "a layer norm on its inputs": lens.StandardSAE(
            lens.StandardSAEConfig(**sizes, **at, normalize_activations="layer_norm")
        ),
        "inputs scaled by a number that is not in the file": lens.StandardSAE(
            lens.StandardSAEConfig(**sizes, **at, normalize_activations="expected_average_only_in")
        ),
        "one head of a hook": lens.StandardSAE(
            lens.StandardSAEConfig(**sizes, metadata=metadata(hook_name=HOOK, hook_head_index=1))
        ),
        "no hook": lens.StandardSAE(lens.StandardSAEConfig(**sizes)),
        "latents of either sign": lens.AbsTopKSAE(lens.AbsTopKSAEConfig(**sizes, **at, k=2)),
        "matching pursuit": lens.MatchingPursuitSAE(lens.MatchingPursuitSAEConfig(**sizes, **at)),
        "a transcoder": lens.Transcoder(lens.TranscoderConfig(**sizes, **across)),
        "a BatchTopK as it is trained": lens.BatchTopKTrainingSAE(
            lens.BatchTopKTrainingSAEConfig(**sizes, **at, k=2)
        ),
    }
    for name, sae in saes.items():
        sae.save_model(folder / name)


def main(folder: Path) -> None:
    """Read ``folder/ours``, write ``folder/theirs`` and ``folder/refused``, and a report."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    samples = load_file(folder / "samples.safetensors")
    report = {}
    for each in sorted((folder / "ours").glob("*/*")):
        inputs = samples[each.parent.name]
        sae = lens.SAE.load_from_disk(each)
        sae.save_model(each / "again")
        if each.parent.name == "specimen":
            save_file(read(each, inputs)._asdict(), each / "theirs.safetensors")
        report[f"{each.parent.name}/{each.name}"] = {
            "read_as": type(sae).__name__,
            **compare(each, inputs, read)._asdict(),
        }
    for where, inputs in written(folder / "theirs", samples):
        save_file(read(where, inputs)._asdict(), where / ANSWERS)
    write_refused(folder / "refused")
    versions = {name: version(name).partition("+")[0] for name in PACKAGES}
    text = json.dumps({"versions": versions, "ours": report}, indent=1)
    (folder / "report.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
