"""What is committed belongs together, and the chapter's title says what was found."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from palindrome_lens.proofs import checker, results
from palindrome_lens.proofs.files import loaded
from palindrome_lens.proofs.margins import margins
from palindrome_lens.proofs.models import TASK, Kind
from palindrome_lens.tokenizer import encode

CHAPTER = Path(__file__).parents[2] / "notebooks" / "20_proof.md"
CASES = [(found["kind"], found["seed"]) for found in results.read()]


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_a_certificate_is_for_the_weights_beside_it(kind: Kind, seed: int) -> None:
    weights, certificate = results.files(kind, seed)
    assert json.loads(certificate)["weights"] == hashlib.sha256(weights).hexdigest()


def test_every_model_has_a_result_and_every_cell_a_verdict() -> None:
    assert tuple(CASES) == results.MODELS
    for found in results.read():
        for row in found["queries"]:
            assert row["right"] + row["wrong"] + row["open"] == TASK.size


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_a_few_cells_are_proved_again(kind: Kind, seed: int) -> None:
    weights, certificate = results.files(kind, seed)
    (found,) = (row for row in results.read() if (row["kind"], row["seed"]) == (kind, seed))
    cells = [*checker.cells(TASK.half_length, TASK.alphabet)]
    names = [cell.name for cell in random.Random(seed).sample(cells, 6)]
    with np.errstate(all="ignore"):
        leaves = checker.check(weights, certificate, names)
    least = {row["query"]: row["margin"] for row in found["queries"]}
    assert len({leaf.query for leaf in leaves}) > 1
    for leaf in leaves:
        assert leaf.verdict.name == "right" or leaf.box in found["wrong_boxes"]
        assert leaf.verdict.name == "wrong" or leaf.verdict.margin >= least[leaf.query] * (1 - 1e-6)


def test_the_title_names_the_only_wrong_string() -> None:
    refuted = results.read()[0]
    (box,) = refuted["wrong_boxes"]
    letters = [checker.letters_of(mask) for mask in box]
    assert checker.size(box) == refuted["wrong_strings"] == 1
    string = "".join(TASK.alphabet[letter] for (letter,) in letters)
    title = next(line for line in CHAPTER.read_text().splitlines() if line.startswith("# "))
    assert f"`{string}`" in title
    assert f"{refuted['tested']:,} tests" in title
    task, model = loaded(results.files(refuted["kind"], refuted["seed"])[0])
    assert bool((margins(model, task, encode(task, [task.string(string)])) < 0).any())


@pytest.mark.parametrize(("kind", "seed"), CASES)
def test_certified_margins_are_below_those_of_strings(kind: Kind, seed: int) -> None:
    (found,) = (row for row in results.read() if (row["kind"], row["seed"]) == (kind, seed))
    task, model = loaded(results.files(kind, seed)[0])
    certified = torch.tensor([row["margin"] for row in found["queries"]])
    sampled = margins(model, task, encode(task, task.sample(500, seed)))
    # Drawn strings are right, each at every query, so the certified margins hold for them.
    assert (sampled >= certified).all()
    for low, row in zip(found["lowest"], found["queries"], strict=True):
        own = margins(model, task, encode(task, [low["string"]]))[0, low["query"] - 8]
        assert abs(float(own) - low["margin"]) < 1e-9
        assert row["wrong"] or low["margin"] >= row["margin"]
