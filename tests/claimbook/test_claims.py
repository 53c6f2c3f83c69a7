"""The numbers that the book states: how they are written, rounded, stored and collected."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from claimbook import claims, mime
from claimbook.claims import claim, collect, rounded, within, written

FLOOR: dict[str, Any] = {
    "id": "data.floor",
    "sentence": "No model is better than {value} nats.",
    "value": 1.2217861,
    "checked_on": 17_576,
    "control": "counted",
}


def notebook(path: Path, *stated: dict[str, Any]) -> Path:
    """A notebook as it lies on disk, with claims among other outputs."""
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "source": "text"}]
    cells.append({"cell_type": "code", "outputs": [{"output_type": "stream", "text": "hello"}]})
    for fields in stated:
        output = {"output_type": "execute_result", "data": {"text/plain": "x", mime.CLAIM: fields}}
        cells.append({"cell_type": "code", "outputs": [output]})
    path.write_text(json.dumps({"cells": cells, "nbformat": 4}), encoding="utf-8")
    return path


def stored(**changed: Any) -> dict[str, Any]:
    made = claim(**{**FLOOR, **changed})
    fields: dict[str, Any] = made._repr_mimebundle_()[mime.CLAIM]
    return fields


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (1.2217861, 1.222),
        (-0.000123456, -0.0001235),
        (99_999.9, 100_000.0),
        (17_576, 17_576),
        (0.0, 0.0),
        (1e-30, 1e-30),
    ],
)
def test_numbers_are_rounded_to_4_significant_digits(value: float, wanted: float) -> None:
    assert rounded(value) == wanted
    assert type(rounded(value)) is type(wanted)


@pytest.mark.parametrize(
    ("value", "style", "text"),
    [
        (1.2217861, "number", "1.222"),
        (17_576, "number", "17,576"),
        (17_576.0, "count", "17,576"),
        (0.998712, "percent", "99.87 %"),
        (1, "percent", "100 %"),
        (0.00001234, "number", "1.234e-05"),
    ],
)
def test_a_value_is_written_in_its_style(value: float, style: str, text: str) -> None:
    assert written(value, style) == text


def test_a_claim_carries_its_number_in_its_sentence() -> None:
    made = claim(**FLOOR)
    assert made.statement == "No model is better than **1.222** nats."
    assert (made.chapter, made.denominator) == ("data", "17,576 strings")


def test_a_stored_claim_is_rounded_and_readable() -> None:
    bundle = claim(**FLOOR)._repr_mimebundle_()
    assert bundle[mime.CLAIM]["value"] == 1.222
    assert bundle["text/plain"] == "No model is better than **1.222** nats."
    assert "Checked on 17,576 strings. Control: counted" in bundle["text/markdown"]
    assert json.loads(json.dumps(bundle)) == bundle


def test_a_count_must_agree_exactly_and_anything_else_to_a_thousandth() -> None:
    assert claim(**{**FLOOR, "value": 435}).tolerance == 0
    assert claim(**{**FLOOR, "value": -2.0}).tolerance == pytest.approx(0.002)
    assert claim(**{**FLOOR, "tolerance": 0.25}).tolerance == 0.25
    assert claim(**{**FLOOR, "tolerance": 0}).tolerance == 0


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"id": "Data.Floor"}, "id"),
        ({"id": "floor"}, "id"),
        ({"sentence": "No number."}, "sentence"),
        ({"control": ""}, "control"),
        ({"checked_on": 0}, "checked_on"),
        ({"style": "roman"}, "style"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"value": "1.2"}, "value"),
    ],
)
def test_an_impossible_claim_is_refused(changed: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        claim(**{**FLOOR, **changed})
    assert {error["loc"][0] for error in caught.value.errors()} == {field}


def test_claims_are_collected_from_notebooks_in_the_order_of_the_book(tmp_path: Path) -> None:
    second = notebook(tmp_path / "02.ipynb", stored(id="training.loss", value=2.5))
    first = notebook(tmp_path / "01.ipynb", stored(), stored(id="data.count", value=7))
    empty = notebook(tmp_path / "00.ipynb")
    found = collect([empty, first, second])
    assert [(one.id, one.value) for one in found] == [
        ("data.floor", 1.222),
        ("data.count", 7),
        ("training.loss", 2.5),
    ]


def test_a_claim_made_twice_is_refused(tmp_path: Path) -> None:
    first, second = (notebook(tmp_path / name, stored()) for name in ("01.ipynb", "02.ipynb"))
    with pytest.raises(ValueError, match=r"'data.floor' is stated twice; .* in 02\.ipynb"):
        collect([first, second])


def test_written_claims_are_read_back(tmp_path: Path) -> None:
    made = [claim(**FLOOR), claim(**{**FLOOR, "id": "data.count", "value": 7, "control": "é"})]
    claims.write(made, tmp_path / "claims.json")
    assert claims.read(tmp_path / "claims.json") == made
    assert len(json.loads((tmp_path / "claims.json").read_text(encoding="utf-8"))) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1 to 2"),
        (1, "1 to 2"),
        (2.0, "1 to 2"),
        (2.0001, "2, which is outside 1 to 2"),
        (0.5, "0.5, which is outside 1 to 2"),
    ],
)
def test_an_interval_is_stated_only_where_the_value_lies_in_it(value: float, text: str) -> None:
    assert within(value, 1, 2) == text
