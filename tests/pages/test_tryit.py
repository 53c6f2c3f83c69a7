"""What the build makes of the weights that notebooks store."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from palindrome_lens.pages.latents import schema
from palindrome_lens.pages.tryit import directive as tryit
from palindrome_lens.pages.tryit.weights import MIME, Weights, as_lists


def notebook(path: Path, **outputs: Any) -> Path:
    stored = [{"data": {mime: content}} for mime, content in outputs.items()]
    cell = {"cell_type": "code", "outputs": stored}
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown"}, cell]}), encoding="utf-8")
    return path


def test_the_weights_of_all_notebooks_stand_in_one_script(tmp_path: Path) -> None:
    model, means = {"name": "model", "tensors": {}}, {"name": "means", "tensors": {}}
    latents = {"positions": 6, "cards": [{"latent": 3, "rule": "<b>··"}, {"latent": 4}]}
    paths = [
        notebook(tmp_path / "02_b.ipynb", **{MIME: means, schema.MIME: latents}),
        notebook(tmp_path / "01_a.ipynb", **{MIME: model}),
    ]
    script = tryit.data_script(paths)
    assert script.startswith("window.palindromeWeights = ") and script.endswith(";\n")
    data = json.loads(script.removeprefix("window.palindromeWeights = ").removesuffix(";\n"))
    assert data == {"model": model, "means": means, "rules": {"3": "<b>··"}}


def test_of_two_exports_with_one_name_the_last_is_taken(tmp_path: Path) -> None:
    paths = [
        notebook(tmp_path / f"{n}.ipynb", **{MIME: {"name": "model", "decimals": n, "tensors": {}}})
        for n in (1, 2)
    ]
    assert tryit.exported(paths) == {"model": {"name": "model", "decimals": 2, "tensors": {}}}
    assert tryit.exported([]) == {}


def test_in_its_notebook_an_export_leaves_the_word_to_its_sentence() -> None:
    data: Any = SimpleNamespace(mime_type=MIME, content={})
    renderer: Any = None
    assert tryit.WeightsNote.handle_mime(renderer, data, False) == []


def test_the_panel_knows_where_the_latents_are() -> None:
    builder = SimpleNamespace(
        current_docname="notebooks/x", get_relative_uri=lambda here, there: f"../{there}.html"
    )
    writer = SimpleNamespace(body=[], builder=builder)
    tryit.visit_panel(writer, tryit.TryItPanel("", start="<abc|"))
    tryit.depart_panel(writer, tryit.TryItPanel(""))
    assert "".join(writer.body) == (
        '<div class="tryit" data-start="&lt;abc|" data-latents="../book/latents.html"></div>\n'
    )


def test_weights_are_stored_as_whole_numbers_of_their_last_decimal() -> None:
    exact = {"a": torch.tensor([[1.23456, -0.5], [-1e-9, 2.0]]), "b": torch.tensor([0.0049])}
    weights = Weights("model", exact, decimals=2, eps=1e-5)
    bundle = weights._repr_mimebundle_()
    assert bundle[MIME] == {
        "name": "model",
        "decimals": 2,
        "eps": 1e-5,
        "tensors": {
            "a": {"shape": [2, 2], "values": "123 -50 0 200"},
            "b": {"shape": [1], "values": "0"},
        },
    }
    assert bundle["text/markdown"].startswith("5 numbers, to 2 decimals")
    assert as_lists(bundle[MIME])["tensors"]["a"] == {"shape": [2, 2], "values": [123, -50, 0, 200]}
