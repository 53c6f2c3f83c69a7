"""Autoencoders to and from the files of SAELens: ``cfg.json`` and ``sae_weights.safetensors``.

The layout is that of SAELens 6 (Bloom, Tigges, Duong and Chanin, *SAELens*, 2024). ``make saelens``
holds both directions against SAELens itself and writes ``exchange.json`` beside this file.

Four architectures of theirs say what six of ours say: a BatchTopK and a Matryoshka are, once
trained, a JumpReLU with one threshold for all latents. Where the two subtract the decoder's bias
from the inputs differently, or theirs scales latents by the length of their atoms, the weights are
changed so that latents and reconstructions stay. Nothing that is only needed to go on training
crosses over, such as how long a latent has been quiet.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file, save_file
from torch import Tensor

from palindrome_lens.artifacts import Tensors
from palindrome_lens.sae.autoencoders import (
    ARCHITECTURES,
    Autoencoder,
    BatchTopK,
    Gated,
    JumpRelu,
    SAEConfig,
)

FILE = Path(__file__).with_suffix(".json")
CONFIG, WEIGHTS = "cfg.json", "sae_weights.safetensors"
VERSION = "6.54.12"
"""The SAELens whose layout is written."""
OURS = "palindrome_lens"
"""The entry of the metadata that holds our own configuration; SAELens keeps what it finds there."""
OUTWARD = {
    "relu-l1": "standard",
    "gated": "gated",
    "topk": "topk",
    "batchtopk": "jumprelu",
    "jumprelu": "jumprelu",
    "matryoshka": "jumprelu",
}
INWARD = {"standard": "relu-l1", "gated": "gated", "topk": "topk", "jumprelu": "jumprelu"}
EXTRA = {
    "standard": ("b_enc",),
    "gated": ("b_gate", "r_mag", "b_mag"),
    "topk": ("b_enc",),
    "jumprelu": ("b_enc", "threshold"),
}
"""What each architecture of theirs has, one number a latent, besides W_enc, W_dec and b_dec."""


class Answers(NamedTuple):
    """What an autoencoder says about some samples."""

    latents: Float[Tensor, "sample d_sae"]
    rebuilt: Float[Tensor, "sample d_in"]

    def unlike(self, other: "Answers") -> int:
        """How many latents and rebuilt numbers are not the same bit by bit."""
        return sum(int((a != b).sum()) for a, b in zip(self, other, strict=True))


def export(autoencoder: Autoencoder, folder: Path) -> None:
    """Write an autoencoder into a folder, for SAELens or for :func:`load`.

    What it takes stays what it took: where that is all positions of a string side by side, SAELens
    encodes and decodes it, but cannot attach it to a model, which hands over one position at a
    time.

    Raises:
        ValueError: SAELens has no such architecture, or a weight is not finite.
    """
    config = autoencoder.config
    if config.architecture not in OUTWARD:
        raise ValueError(
            f"SAELens cannot represent a {config.architecture!r} autoencoder, only "
            f"{_listed(OUTWARD)}."
        )
    weights = _outward(autoencoder)
    _check_finite(weights, f"The {config.architecture!r} autoencoder")
    layout = {
        "architecture": OUTWARD[config.architecture],
        "d_in": autoencoder.d_in,
        "d_sae": autoencoder.d_sae,
        "dtype": str(autoencoder.W_enc.dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": autoencoder.centred,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": VERSION,
            "hook_name": config.hook,
            OURS: config.model_dump(mode="json"),
        },
    }
    if config.architecture == "topk":
        layout |= {"k": config.k, "rescale_acts_by_decoder_norm": False}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(layout, indent=1) + "\n", encoding="utf-8")


def load(folder: Path, hook: str | None = None) -> Autoencoder:
    """The autoencoder that :func:`export` or SAELens wrote into a folder, in float64, for use.

    One of SAELens takes single positions, and its settings of training are not known: they are
    those of :class:`SAEConfig`.

    Args:
        hook: where its inputs come from, in place of what the file says.

    Raises:
        ValueError: a file is missing or damaged, or holds what cannot be represented here.
    """
    layout = _layout(folder / CONFIG)
    try:
        config = _config(layout, hook)
    except ValueError as error:
        raise ValueError(f"{folder / CONFIG}: {error}") from None
    weights = {name: value.double() for name, value in _weights(folder, layout).items()}
    if layout.get("rescale_acts_by_decoder_norm"):
        _fold_lengths(weights)
    _check_finite(weights, str(folder / WEIGHTS))
    autoencoder = ARCHITECTURES[config.architecture](config, layout["d_in"])
    if autoencoder.centred != layout["apply_b_dec_to_input"]:
        _move_centre(weights, 1 if autoencoder.centred else -1)
    autoencoder.load_state_dict(autoencoder.state_dict() | _inward(autoencoder, weights))
    return autoencoder.eval()


def altered(
    folder: Path, copy: Path, weights: Tensors | None = None, layout: dict[str, Any] | None = None
) -> Path:
    """Write a copy of an export in which some tensors or fields are others; returns the copy.

    A misreading can be tried in this way: reading what says the opposite is misreading the file.
    """
    copy.mkdir(parents=True, exist_ok=True)
    save_file(load_file(folder / WEIGHTS) | (weights or {}), copy / WEIGHTS)
    said = json.loads((folder / CONFIG).read_bytes()) | (layout or {})
    (copy / CONFIG).write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    return copy


def answers(autoencoder: Autoencoder, x: Float[Tensor, "sample d_in"]) -> Answers:
    """What an autoencoder says about some samples, without gradients."""
    with torch.no_grad():
        latents = autoencoder.encode(x)
        return Answers(latents, autoencoder.decode(latents))


def _outward(autoencoder: Autoencoder) -> Tensors:
    """The weights under the names of SAELens."""
    own = {name: value.detach().contiguous() for name, value in autoencoder.state_dict().items()}
    own.pop("quiet", None)
    if isinstance(autoencoder, Gated):
        own["b_gate"] = own.pop("b_enc")
    if isinstance(autoencoder, JumpRelu):
        own["threshold"] = own.pop("log_threshold").exp()
    if isinstance(autoencoder, BatchTopK):
        own["threshold"] = own["threshold"].repeat(autoencoder.d_sae)
    return own


def _inward(autoencoder: Autoencoder, weights: Tensors) -> Tensors:
    """The weights under our names; the reverse of :func:`_outward`."""
    own = dict(weights)
    if isinstance(autoencoder, Gated):
        own["b_enc"] = own.pop("b_gate")
    if isinstance(autoencoder, JumpRelu):
        # Their latents pass a ReLU as well: a threshold below 0 is one of 0, whose logarithm is −∞.
        own["log_threshold"] = own.pop("threshold").clamp(min=0).log()
    if isinstance(autoencoder, BatchTopK):
        different = own["threshold"].unique()
        if len(different) > 1:
            raise ValueError(
                f"A {autoencoder.config.architecture!r} autoencoder has one threshold; the file "
                f"holds {len(different):,} different ones."
            )
        own["threshold"] = different[0]
    return own


def _fold_lengths(weights: Tensors) -> None:
    """Latents measured in units of their atoms' length become latents of atoms of length 1."""
    length = weights["W_dec"].norm(dim=1)
    weights["W_enc"] = weights["W_enc"] * length
    weights["b_enc"] = weights["b_enc"] * length
    weights["W_dec"] = weights["W_dec"] / length[:, None]


def _move_centre(weights: Tensors, sign: int) -> None:
    """With sign 1 from an encoder of x make the same one of x − b_dec; with −1 the reverse."""
    shift = sign * weights["b_dec"] @ weights["W_enc"]
    for name in ("b_enc", "b_gate"):
        if name in weights:
            weights[name] = weights[name] + shift
    if "b_mag" in weights:
        weights["b_mag"] = weights["b_mag"] + shift * weights["r_mag"].exp()


def _layout(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"There is no {path}.")
    try:
        layout = json.loads(path.read_bytes())
    except ValueError:
        layout = None
    if not isinstance(layout, dict):
        raise ValueError(f"{path} is no JSON object.")
    metadata = layout.get("metadata")
    return layout | {"metadata": metadata if isinstance(metadata, dict) else {}}


def _objections(layout: dict[str, Any]) -> Iterator[str]:
    """Why what a file describes cannot be represented here, one sentence each."""
    metadata = layout["metadata"]
    version = str(metadata.get("sae_lens_version") or layout.get("sae_lens_version"))
    major = re.match(r"\d+", version)
    if not major or int(major[0]) < 6:
        yield (
            "it was not written by SAELens 6 or newer; a newer SAELens can load it and save it "
            "again."
        )
    architecture = layout.get("architecture")
    if architecture in ("batchtopk", "matryoshka_batchtopk"):
        yield (
            f"{architecture!r} is for training, where latents depend on the rest of the batch; "
            "SAELens's save_inference_model writes one that can be read."
        )
    if architecture not in INWARD:
        yield (
            f"the architecture {architecture!r} cannot be represented here, only {_listed(INWARD)}."
        )
    for field in ("d_in", "d_sae", "apply_b_dec_to_input"):
        if field not in layout:
            yield f"it does not say {field}."
    scaling = layout.get("normalize_activations", "none")
    if scaling != "none":
        yield (
            f"its inputs are scaled by {scaling!r}, which is not folded into the weights; only "
            "plain inputs can be represented here."
        )
    if (head := metadata.get("hook_head_index")) is not None:
        yield f"it takes head {head} alone; what passes through a hook is taken whole here."
    out = metadata.get("hook_name_out")
    if out is not None and out != metadata.get("hook_name"):
        yield f"it predicts {out!r} from another hook; an autoencoder rebuilds its own inputs."


def _config(layout: dict[str, Any], hook: str | None) -> SAEConfig:
    """Our configuration: the one that was exported, or else what the layout says.

    Raises:
        ValueError: what is described cannot be represented here, names no hook, or is not what the
            metadata say.
    """
    for objection in _objections(layout):
        raise ValueError(objection)
    metadata, of_topk = layout["metadata"], layout["architecture"] == "topk"
    said = [layout["architecture"], layout["d_sae"], layout.get("k") if of_topk else None]
    fields: dict[str, Any]
    if isinstance(own := metadata.get(OURS), dict):
        # JSON knows no tuples.
        fields = {name: tuple(v) if isinstance(v, list) else v for name, v in own.items()}
    else:
        # Where nothing is selected k means nothing, but it may not exceed the number of latents.
        k = layout.get("k") if of_topk else 1
        fields = {"architecture": INWARD[said[0]], "d_sae": said[1], "k": k, "inputs": "position"}
    if not (hook or fields.setdefault("hook", metadata.get("hook_name"))):
        raise ValueError("it does not say which hook its inputs come from; name one.")
    config = SAEConfig(**fields | ({"hook": hook} if hook else {}))
    outward = OUTWARD.get(config.architecture)
    exported = [outward, config.d_sae, config.k if outward == "topk" else None]
    if exported != said:
        raise ValueError(f"it describes {said}, but its metadata {exported}.")
    return config


def _weights(folder: Path, layout: dict[str, Any]) -> Tensors:
    """The tensors of the file, which are those that the layout asks for.

    Raises:
        ValueError: the file is missing or damaged, or a tensor is missing, unknown, of another
            shape, or holds no real numbers.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise ValueError(f"There is no {path}.")
    try:
        tensors = load_tensors(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}.") from None
    d_in, d_sae = layout["d_in"], layout["d_sae"]
    shapes = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    shapes |= dict.fromkeys(EXTRA[layout["architecture"]], (d_sae,))
    if tensors.keys() != shapes.keys():
        raise ValueError(f"{path} holds {_listed(sorted(tensors))}, not {_listed(sorted(shapes))}.")
    for name, wanted in shapes.items():
        tensor = tensors[name]
        if tensor.shape != wanted or not tensor.is_floating_point():
            raise ValueError(
                f"{path}: {name} is {tuple(tensor.shape)} in {tensor.dtype}; real numbers in the "
                f"shape {wanted} were expected."
            )
    return tensors


def _check_finite(weights: Tensors, where: str) -> None:
    bad = [name for name, value in weights.items() if not value.isfinite().all()]
    if bad:
        raise ValueError(f"{where} has NaN or infinity in {_listed(bad)}.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
