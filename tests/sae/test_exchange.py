"""Files of SAELens: written and read here, where it is not installed.

Encodings are held against the formulas of its documentation, written out below in NumPy, and
against answers that SAELens itself gave when ``make saelens`` was last run.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from saelens.round_trip import SPECIMENS, specimen, specimen_inputs
from safetensors.numpy import load_file, save_file
from torch import Tensor

from palindrome_lens.sae import exchange
from palindrome_lens.sae.autoencoders import (
    ARCHITECTURES,
    Autoencoder,
    BatchTopK,
    SAEConfig,
    TopK,
    init_autoencoder,
)

D_IN, D_SAE = 6, 14
HOOK = "blocks.0.hook_mlp_out"
KNOWN = {
    "relu-l1": "standard",
    "gated": "gated",
    "topk": "topk",
    "batchtopk": "jumprelu",
    "jumprelu": "jumprelu",
    "matryoshka": "jumprelu",
}
PER_LATENT = {
    "standard": ["b_enc"],
    "gated": ["b_gate", "b_mag", "r_mag"],
    "topk": ["b_enc"],
    "jumprelu": ["b_enc", "threshold"],
}
Array = NDArray[np.float64]
Weights = dict[str, Any]


def inputs() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.randn(200, D_IN, dtype=torch.float64, generator=generator) + 0.5


def moved(architecture: str) -> Autoencoder:
    """An autoencoder for use that has left its symmetric start, with a configuration of its own."""
    fields = {"architecture": architecture, "hook": "hook_embed", "d_sae": D_SAE, "k": 3, "seed": 4}
    if architecture == "matryoshka":
        fields["prefixes"] = (2, D_SAE)
    autoencoder = init_autoencoder(SAEConfig.model_validate(fields), inputs()).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in autoencoder.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, dtype=torch.float64, generator=generator))
    if isinstance(autoencoder, BatchTopK):
        autoencoder.threshold.fill_(0.7)
    return autoencoder


def encoded(layout: dict[str, Any], w: Weights, x: Array) -> Array:
    """The latents, by SAELens's documentation."""
    x = x - w["b_dec"] if layout["apply_b_dec_to_input"] else x
    if layout["architecture"] == "gated":
        size = np.maximum(x @ (w["W_enc"] * np.exp(w["r_mag"])) + w["b_mag"], 0)
        latents: Array = size * (x @ w["W_enc"] + w["b_gate"] > 0)
        return latents
    before = x @ w["W_enc"] + w["b_enc"]
    if layout["architecture"] == "jumprelu":
        return np.maximum(before, 0) * (before > w["threshold"])
    if layout["architecture"] == "topk":
        if layout["rescale_acts_by_decoder_norm"]:
            before = before * np.linalg.norm(w["W_dec"], axis=1)
        least = np.sort(before, axis=1)[:, [-layout["k"]]]
        before = np.where(before >= least, before, 0)
    return np.maximum(before, 0)


def decoded(layout: dict[str, Any], w: Weights, latents: Array) -> Array:
    if layout.get("rescale_acts_by_decoder_norm"):
        latents = latents / np.linalg.norm(w["W_dec"], axis=1)
    rebuilt: Array = latents @ w["W_dec"] + w["b_dec"]
    return rebuilt


def assert_says(
    autoencoder: Autoencoder, x: Tensor, latents: Any, rebuilt: Any, atol: float = 1e-12
) -> None:
    found = autoencoder.encode(x).detach()
    np.testing.assert_allclose(found, latents, rtol=0, atol=atol)
    np.testing.assert_allclose(autoencoder.decode(found).detach(), rebuilt, rtol=0, atol=atol)


def read(folder: Path) -> tuple[dict[str, Any], Weights]:
    layout = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
    return layout, load_file(folder / "sae_weights.safetensors")


def write(folder: Path, layout: dict[str, Any], weights: Weights) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "cfg.json").write_text(json.dumps(layout), encoding="utf-8")
    save_file(
        {name: np.ascontiguousarray(value) for name, value in weights.items()},
        folder / "sae_weights.safetensors",
    )
    return folder


def theirs(architecture: str, **fields: Any) -> tuple[dict[str, Any], Weights]:
    """A layout and weights as SAELens saves them."""
    layout = {
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "float64",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.54.12", "hook_name": HOOK, "hook_head_index": None},
        "architecture": architecture,
        **({"k": 3, "rescale_acts_by_decoder_norm": False} if architecture == "topk" else {}),
        **fields,
    }
    draw = np.random.default_rng(2).normal
    shapes: dict[str, Any] = {"W_enc": (D_IN, D_SAE), "W_dec": (D_SAE, D_IN), "b_dec": D_IN}
    shapes |= dict.fromkeys(PER_LATENT.get(architecture, []), D_SAE)
    return layout, {name: draw(size=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("architecture", KNOWN)
def test_an_export_has_the_published_layout(architecture: str, tmp_path: Path) -> None:
    exchange.export(moved(architecture), tmp_path / "new" / "sae")
    layout, weights = read(tmp_path / "new" / "sae")
    metadata = layout.pop("metadata")
    wanted = {
        "architecture": KNOWN[architecture],
        "d_in": D_IN,
        "d_sae": D_SAE,
        "dtype": "float64",
        "device": "cpu",
        "apply_b_dec_to_input": architecture != "jumprelu",
        "normalize_activations": "none",
        "reshape_activations": "none",
    }
    if architecture == "topk":
        wanted |= {"k": 3, "rescale_acts_by_decoder_norm": False}
    assert layout == wanted
    assert metadata["hook_name"] == "hook_embed"
    assert int(metadata["sae_lens_version"].split(".")[0]) >= 6
    shapes = {"W_enc": (D_IN, D_SAE), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
    shapes |= dict.fromkeys(PER_LATENT[KNOWN[architecture]], (D_SAE,))
    assert {name: value.shape for name, value in weights.items()} == shapes
    assert {value.dtype for value in weights.values()} == {np.dtype("float64")}


@pytest.mark.parametrize("architecture", KNOWN)
def test_by_the_published_formulas_an_export_says_what_the_autoencoder_says(
    architecture: str, tmp_path: Path
) -> None:
    autoencoder, x = moved(architecture), inputs()
    exchange.export(autoencoder, tmp_path)
    layout, weights = read(tmp_path)
    latents = encoded(layout, weights, x.numpy())
    assert 0.02 < (latents > 0).mean() < 0.9
    assert_says(autoencoder, x, latents, decoded(layout, weights, latents))


@pytest.mark.parametrize("architecture", KNOWN)
def test_what_was_exported_is_loaded_bit_for_bit(architecture: str, tmp_path: Path) -> None:
    autoencoder, x = moved(architecture), inputs()
    exchange.export(autoencoder, tmp_path)
    again = exchange.load(tmp_path)
    assert type(again) is type(autoencoder) and not again.training
    assert again.config == autoencoder.config
    weights, weights_again = autoencoder.state_dict(), again.state_dict()
    assert weights.keys() == weights_again.keys()
    for each in (weights, weights_again):
        # Several logarithms belong to one threshold; the file holds the threshold.
        if "log_threshold" in each:
            each["log_threshold"] = each["log_threshold"].exp()
    assert all(torch.equal(weights[name], weights_again[name]) for name in weights)
    assert torch.equal(again.encode(x), autoencoder.encode(x))
    assert torch.equal(again(x), autoencoder(x))


@pytest.mark.parametrize("architecture", KNOWN)
def test_answers_of_an_altered_copy_differ_and_the_export_stays(
    architecture: str, tmp_path: Path
) -> None:
    exchange.export(moved(architecture), tmp_path / "sae")
    said = exchange.answers(exchange.load(tmp_path / "sae"), inputs())
    assert said.rebuilt.grad_fn is None
    assert torch.equal(exchange.load(tmp_path / "sae").decode(said.latents), said.rebuilt)

    def unlike(**changed: Any) -> int:
        copy = exchange.altered(tmp_path / "sae", tmp_path / "copy", **changed)
        return exchange.answers(exchange.load(copy), inputs()).unlike(said)

    layout, weights = read(tmp_path / "sae")
    assert unlike() == 0
    assert unlike(weights={"W_dec": 2 * torch.tensor(weights["W_dec"])}) > 0
    assert unlike(layout={"apply_b_dec_to_input": not layout["apply_b_dec_to_input"]}) > 0
    assert unlike() == 0


def test_how_long_latents_were_quiet_does_not_cross_over(tmp_path: Path) -> None:
    autoencoder = moved("topk")
    assert isinstance(autoencoder, TopK)
    autoencoder.quiet += 3
    exchange.export(autoencoder, tmp_path)
    again = exchange.load(tmp_path)
    assert isinstance(again, TopK) and not again.quiet.any()


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(
    ("architecture", "fields"),
    [
        *((architecture, {}) for architecture in PER_LATENT),
        ("topk", {"rescale_acts_by_decoder_norm": True}),
    ],
)
def test_a_file_of_saelens_says_what_its_formulas_say(
    architecture: str, fields: dict[str, Any], centred: bool, tmp_path: Path
) -> None:
    layout, weights = theirs(architecture, apply_b_dec_to_input=centred, **fields)
    found = exchange.load(write(tmp_path, layout, weights))
    assert (found.config.hook, found.config.inputs) == (HOOK, "position")
    latents = encoded(layout, weights, inputs().numpy())
    assert_says(found, inputs(), latents, decoded(layout, weights, latents), atol=1e-11)


def test_a_threshold_of_0_or_less_is_a_relu(tmp_path: Path) -> None:
    layout, weights = theirs("jumprelu")
    weights["threshold"] = np.where(np.arange(D_SAE) % 2, 0, -3.0)
    found = exchange.load(write(tmp_path, layout, weights))
    latents = encoded(layout, weights, inputs().numpy())
    assert (latents > 0).any(axis=0).all()
    assert_says(found, inputs(), latents, decoded(layout, weights, latents), atol=1e-11)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_shorter_numbers_are_read_as_they_are_and_moved_in_float64(
    kind: Any, tmp_path: Path
) -> None:
    """A jumprelu that subtracts the bias has to be moved."""
    layout, weights = theirs("jumprelu", dtype=np.dtype(kind).name)
    weights = {name: value.astype(kind) for name, value in weights.items()}
    found = exchange.load(write(tmp_path, layout, weights))
    assert {value.dtype for value in found.state_dict().values()} == {torch.float64}
    exact = {name: value.astype(np.float64) for name, value in weights.items()}
    latents = encoded(layout, exact, inputs().numpy())
    assert_says(found, inputs(), latents, decoded(layout, exact, latents), atol=1e-11)


def test_the_hook_can_be_named_where_a_file_names_none_or_another(tmp_path: Path) -> None:
    layout, weights = theirs("standard", metadata={"sae_lens_version": "6.0.0"})
    assert exchange.load(write(tmp_path, layout, weights), "hook_embed").config.hook == "hook_embed"
    exchange.export(moved("topk"), tmp_path)
    assert exchange.load(tmp_path, "hook_pos_embed").config.hook == "hook_pos_embed"


@pytest.mark.parametrize("architecture", sorted(set(ARCHITECTURES) - set(KNOWN)))
def test_what_saelens_does_not_know_is_not_exported(architecture: str, tmp_path: Path) -> None:
    said = f"SAELens cannot represent a '{architecture}' autoencoder, only relu-l1, gated, topk"
    with pytest.raises(ValueError, match=said):
        exchange.export(moved(architecture), tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


def test_weights_that_are_no_numbers_are_not_exported(tmp_path: Path) -> None:
    autoencoder = moved("gated")
    with torch.no_grad():
        autoencoder.b_enc[2] = torch.nan
    with pytest.raises(ValueError, match="'gated' autoencoder has NaN or infinity in b_gate"):
        exchange.export(autoencoder, tmp_path / "sae")
    assert not (tmp_path / "sae").exists()


@pytest.mark.parametrize(
    ("architecture", "fields", "said"),
    [
        ("standard", {"metadata": {}}, "not written by SAELens 6 or newer"),
        ("standard", {"metadata": None}, "not written by SAELens 6 or newer"),
        ("standard", {"metadata": {"sae_lens_version": "5.9.1"}}, "newer SAELens can load it and"),
        ("transcoder", {"d_out": 3}, "'transcoder' cannot be represented here, only standard, gat"),
        ("abstopk", {}, "the architecture 'abstopk' cannot be represented here"),
        ("batchtopk", {"k": 3}, "'batchtopk' is for training.*save_inference_model"),
        ("matryoshka_batchtopk", {}, "'matryoshka_batchtopk' is for training"),
        ("standard", {"normalize_activations": "layer_norm"}, "scaled by 'layer_norm', which is"),
        ("topk", {"k": 15}, "k is 15; the autoencoder has 14 latents"),
        ("topk", {"k": 2.5}, r"SAEConfig.k is 2.5 \(float\)"),
        ("standard", {"d_sae": 0}, r"SAEConfig.d_sae is 0 \(int\)"),
    ],
)
def test_what_cannot_be_represented_is_refused(
    architecture: str, fields: dict[str, Any], said: str, tmp_path: Path
) -> None:
    """Before the weights are looked at: there are none."""
    layout, _ = theirs(architecture, **fields)
    (tmp_path / "cfg.json").write_text(json.dumps(layout), encoding="utf-8")
    with pytest.raises(ValueError, match=f"cfg.json: .*{said}"):
        exchange.load(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "does not say which hook its inputs come from; name one"),
        ({"hook_name": HOOK, "hook_head_index": 0}, "takes head 0 alone"),
        ({"hook_name": HOOK, "hook_name_out": "hook_embed"}, "predicts 'hook_embed' from another"),
    ],
)
def test_other_places_than_a_whole_hook_are_refused(
    metadata: dict[str, Any], said: str, tmp_path: Path
) -> None:
    layout, weights = theirs("gated", metadata={"sae_lens_version": "6.54.12", **metadata})
    with pytest.raises(ValueError, match=said):
        exchange.load(write(tmp_path, layout, weights))


@pytest.mark.parametrize("field", ["d_in", "d_sae", "apply_b_dec_to_input"])
def test_a_layout_with_a_gap_is_refused(field: str, tmp_path: Path) -> None:
    layout, weights = theirs("jumprelu")
    del layout[field]
    with pytest.raises(ValueError, match=f"it does not say {field}"):
        exchange.load(write(tmp_path, layout, weights))


def test_weights_that_do_not_fit_the_layout_are_refused(tmp_path: Path) -> None:
    layout, weights = theirs("gated")
    for changed, said in [
        ({"W_enc": weights["W_enc"].T}, r"W_enc is \(14, 6\) in torch.float64; .* \(6, 14\) were"),
        ({"b_mag": np.ones(D_SAE, dtype=np.int64)}, r"b_mag is \(14,\) in torch.int64; real numb"),
        (
            {"b_enc": weights["b_mag"]},
            "holds W_dec, W_enc, b_dec, b_enc, b_gate, b_mag, r_mag, not",
        ),
        ({"b_dec": np.full(D_IN, np.nan)}, "has NaN or infinity in b_dec"),
    ]:
        with pytest.raises(ValueError, match=said):
            exchange.load(write(tmp_path, layout, weights | changed))
    del weights["r_mag"]
    with pytest.raises(ValueError, match=r"holds W_dec, .* b_mag, not W_dec, .* b_mag, r_mag"):
        exchange.load(write(tmp_path, layout, weights))


def test_latents_in_lengths_of_an_atom_without_length_are_refused(tmp_path: Path) -> None:
    layout, weights = theirs("topk", rescale_acts_by_decoder_norm=True)
    weights["W_dec"][3] = 0
    with pytest.raises(ValueError, match="has NaN or infinity in W_dec"):
        exchange.load(write(tmp_path, layout, weights))


def test_missing_and_damaged_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"There is no .*cfg.json"):
        exchange.load(tmp_path)
    exchange.export(moved("topk"), tmp_path)
    weights = tmp_path / "sae_weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"sae_weights.safetensors is damaged: "):
        exchange.load(tmp_path)
    weights.unlink()
    with pytest.raises(ValueError, match=r"There is no .*sae_weights.safetensors"):
        exchange.load(tmp_path)
    for text in ("{", "[]", "\xff"):
        (tmp_path / "cfg.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match=r"cfg.json is no JSON object"):
            exchange.load(tmp_path)


def test_metadata_of_another_autoencoder_are_refused(tmp_path: Path) -> None:
    exchange.export(moved("topk"), tmp_path)
    layout, weights = read(tmp_path)
    with pytest.raises(ValueError, match=r"describes \['topk', 14, 2\], but its metadata \['topk'"):
        exchange.load(write(tmp_path, layout | {"k": 2}, weights))
    layout["metadata"]["palindrome_lens"]["architecture"] = "gelu-kl"
    with pytest.raises(ValueError, match=r"but its metadata \[None, 14, None\]"):
        exchange.load(write(tmp_path, layout, weights))


def test_a_batchtopk_with_several_thresholds_is_refused(tmp_path: Path) -> None:
    exchange.export(moved("batchtopk"), tmp_path)
    layout, weights = read(tmp_path)
    weights["threshold"][3] += 1
    with pytest.raises(
        ValueError, match=r"'batchtopk' autoencoder has one threshold.* 2 different"
    ):
        exchange.load(write(tmp_path, layout, weights))


RECORDED = json.loads(SPECIMENS.read_bytes())
RESULT = json.loads(exchange.FILE.read_bytes())
REMADE = "the result of `make saelens` is that of other code: run it again"


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in entries]


@pytest.mark.parametrize("recorded", RECORDED["ours"], ids=names(RECORDED["ours"]))
def test_what_saelens_was_given_is_what_is_exported_now(
    recorded: dict[str, Any], tmp_path: Path
) -> None:
    exchange.export(specimen(recorded["name"]), tmp_path)
    layout, weights = read(tmp_path)
    assert layout == recorded["layout"], REMADE
    assert weights.keys() == recorded["weights"].keys(), REMADE
    for name, value in weights.items():
        np.testing.assert_allclose(value, recorded["weights"][name], rtol=0, atol=1e-11)


@pytest.mark.parametrize("recorded", RECORDED["ours"], ids=names(RECORDED["ours"]))
def test_saelens_made_of_it_what_the_autoencoder_says_now(recorded: dict[str, Any]) -> None:
    said = recorded["latents"], recorded["rebuilt"]
    assert 0.05 < (np.array(said[0]) > 0).mean() < 0.9
    assert_says(specimen(recorded["name"]), specimen_inputs(), *said, atol=1e-11)


@pytest.mark.parametrize("recorded", RECORDED["theirs"], ids=names(RECORDED["theirs"]))
def test_what_saelens_wrote_is_read_as_saelens_reads_it(
    recorded: dict[str, Any], tmp_path: Path
) -> None:
    weights = {name: np.array(value) for name, value in recorded["weights"].items()}
    found = exchange.load(write(tmp_path, recorded["layout"], weights))
    assert_says(found, specimen_inputs(), recorded["latents"], recorded["rebuilt"], atol=1e-10)


@pytest.mark.parametrize("recorded", RECORDED["refused"], ids=names(RECORDED["refused"]))
def test_what_saelens_wrote_is_refused_as_it_was(recorded: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        exchange.load(write(tmp_path, recorded["layout"], {}))
    assert str(caught.value).endswith(f": {RESULT['refused'][recorded['name']]}"), REMADE


def test_the_result_in_the_book_is_of_the_run_that_recorded_these() -> None:
    assert hashlib.sha256(SPECIMENS.read_bytes()).hexdigest()[:16] == RESULT["specimens"], REMADE
    assert names(RECORDED["refused"]) == list(RESULT["refused"])
    lock = (SPECIMENS.parent / "requirements.lock").read_text(encoding="utf-8").splitlines()
    assert {f"{name}=={version}" for name, version in RESULT["versions"].items()} <= set(lock)


def test_the_result_covers_every_architecture_and_holds() -> None:
    rows = RESULT["rows"]
    for kind in ("string", "position", "specimen"):
        out = [row for row in rows if (row["direction"], row["inputs"]) == ("out", kind)]
        assert set(names(out)) == set(KNOWN)
        assert all(row["came_back"] for row in out)
    assert {row["read_as"] for row in rows if row["direction"] == "in"} == {
        *("ReluL1", "Gated", "TopK", "JumpRelu")
    }
    for row in rows:
        assert max(row["latents_apart"], row["rebuilt_apart"]) <= 1e-6
        assert row["active_in_one"] == 0
        assert row["noticed"] == row["faulty"] >= 5
