"""The numbers that the book states: how they are written, rounded, stored and collected."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from claimbook import claims, mime
from claimbook.claims import Cases, claim, collect

FLOOR: dict[str, Any] = {
    "id": "data.floor",
    "sentence": "No model is better than {value} nats.",
    "value": 1.2217861,
    "on": 17_576,
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


def test_a_claim_carries_its_number_in_its_sentence() -> None:
    made = claim(**FLOOR)
    assert made.statement == "No model is better than **1.222** nats."
    assert (made.chapter, made.denominator) == ("data", "17,576 strings")


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [("{value}", 0.5, "0.5"), ("{value:%}", 0.5, "50 %"), ("{value:,}", 4000.0, "4,000")],
)
def test_the_place_of_the_number_says_how_it_is_written(
    place: str, value: float, text: str
) -> None:
    made = claim(**{**FLOOR, "sentence": f"It is {place}.", "value": value})
    assert (made.sentence, made.text) == ("It is {value}.", text)


def test_what_a_number_was_computed_over_is_named() -> None:
    assert claim(**{**FLOOR, "on": Cases(10, "throws")}).denominator == "10 throws"


def test_a_sentence_and_a_control_may_run_over_several_lines() -> None:
    made = claim(**{**FLOOR, "sentence": "At least\n    {value} nats.", "control": "one\n  two"})
    assert (made.statement, made.control) == ("At least **1.222** nats.", "one two")


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
        ({"on": 0}, "checked_on"),
        ({"sentence": "{value:roman}"}, "sentence"),
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
