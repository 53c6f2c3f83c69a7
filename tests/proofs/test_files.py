"""Damaged, altered or invented files: the checker says what is wrong, in one sentence."""

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from proofs.specimens import SIZES, SMALL, noisy, truth

from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.proofs import checker
from palindrome_lens.proofs.files import exported, loaded
from palindrome_lens.proofs.search import search
from palindrome_lens.task import Task

Header = dict[str, Any]


@pytest.fixture(scope="module")
def weights() -> bytes:
    return exported(noisy(0), SMALL)


@pytest.fixture(scope="module")
def certificate(weights: bytes) -> bytes:
    found = search(weights)
    assert found.open == []
    return found.certificate


def with_header(weights: bytes, change: Callable[[Header], Any]) -> bytes:
    """The same numbers behind a changed header."""
    stop = 8 + struct.unpack("<Q", weights[:8])[0]
    header = json.loads(weights[8:stop])
    changed = change(header)
    text = changed if isinstance(changed, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + weights[stop:]


def signed(weights: bytes, certificate: bytes) -> bytes:
    """A certificate that says that it is for these weights."""
    told = json.loads(certificate)
    return json.dumps(told | {"weights": hashlib.sha256(weights).hexdigest()}).encode()


def test_the_proof_of_a_small_model_counts_what_is_wrong(
    weights: bytes, certificate: bytes
) -> None:
    leaves = checker.check(weights, certificate)
    found = truth(noisy(0))
    wrong, counts = np.zeros(SMALL.size, dtype=bool), set()
    for query in range(SMALL.half_length, SMALL.n_positions):
        own = [leaf for leaf in leaves if leaf.query == query]
        assert sum(checker.size(leaf.box) for leaf in own) == SMALL.size
        at_query = np.zeros(SMALL.size, dtype=bool)
        for cell in checker.cells(SMALL.half_length, SMALL.alphabet):
            if cell.query == query:
                rows = [
                    np.isin(found.letters[:, slot], checker.letters_of(mask))
                    for slot, mask in enumerate(cell.root)
                ]
                rivals = np.delete(found.margins[:, query, cell.target], cell.target, axis=1)
                at_query |= np.all(rows, axis=0) & (rivals <= 0).any(1)
        said = [leaf for leaf in own if leaf.verdict.name == "wrong"]
        assert sum(checker.size(leaf.box) for leaf in said) == at_query.sum()
        wrong |= at_query
        assert checker.wrong_strings(own) == at_query.sum()
        counts.add(int(at_query.sum()))
    assert checker.wrong_strings(leaves) == wrong.sum()
    assert counts - {0, SMALL.size}


def test_a_file_gives_back_the_model(weights: bytes) -> None:
    task, model = loaded(weights)
    assert task == SMALL
    for name, value in noisy(0).state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


def cell_with_leaves(told: Header) -> str:
    return max(told["leaves"], key=lambda name: len(told["leaves"][name]))


def missing(told: Header) -> None:
    told["leaves"][cell_with_leaves(told)].pop()


def overlapping(told: Header) -> None:
    boxes = told["leaves"][cell_with_leaves(told)]
    boxes.append(boxes[0])


def outside(told: Header) -> None:
    boxes = told["leaves"][cell_with_leaves(told)]
    boxes[0] = [mask | 1 << 7 for mask in boxes[0]]


def no_cell(told: Header) -> None:
    told["leaves"]["2:a"] = [[31, 31, 31]]


def empty_set(told: Header) -> None:
    told["leaves"][cell_with_leaves(told)][0][0] = 0


def true_for_one(told: Header) -> None:
    told["leaves"][cell_with_leaves(told)][0][0] = True


def no_leaves(told: Header) -> None:
    told["leaves"][cell_with_leaves(told)] = []


def other_weights(told: Header) -> None:
    told["weights"] = "0" * 64


def nothing_about_leaves(told: Header) -> None:
    del told["leaves"]


CERTIFICATES: dict[Callable[[Header], None], str] = {
    missing: "hold",
    overlapping: "overlap",
    outside: "reaches outside",
    no_cell: "which is no cell",
    empty_set: "not one set of letters",
    true_for_one: "not one set of letters",
    no_leaves: "hold 0 of",
    other_weights: "for other weights",
    nothing_about_leaves: "missing or damaged",
}


@pytest.mark.parametrize("change", CERTIFICATES)
def test_a_false_certificate_is_refused(
    change: Callable[[Header], None], weights: bytes, certificate: bytes
) -> None:
    told = json.loads(certificate)
    change(told)
    refused(weights, json.dumps(told).encode(), CERTIFICATES[change])


def refused(weights: bytes, certificate: bytes, because: str) -> None:
    with pytest.raises(ValueError, match=because) as error:
        checker.check(weights, certificate)
    sentence = str(error.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_certificate_that_is_cut_off_or_says_a_thing_twice_is_refused(
    weights: bytes, certificate: bytes
) -> None:
    refused(weights, certificate[:-5], "missing or damaged")
    refused(weights, certificate[:-1] + b',"leaves":{}}', "stands twice")
    refused(weights, b"[]", "missing or damaged")


def set_entry(name: str, **fields: Any) -> Callable[[Header], None]:
    return lambda header: header[name].update(fields)


def about(**fields: Any) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        told = json.loads(header["__metadata__"]["model"])
        header["__metadata__"]["model"] = json.dumps(told | fields)

    return change


def move_first_onto_second(header: Header) -> None:
    first, second = sorted(set(header) - {"__metadata__"}, key=lambda n: header[n]["data_offsets"])[
        :2
    ]
    header[first]["data_offsets"] = header[second]["data_offsets"]


def twice(header: Header) -> bytes:
    text = json.dumps(header)
    return (text[:-1] + ', "head.weight": ' + json.dumps(header["head.weight"]) + "}").encode()


def second_layer(header: Header) -> None:
    header["layers.1.ln1.weight"] = header["layers.0.ln1.weight"]


HEADERS: dict[str, tuple[Callable[[Header], Any], str]] = {
    "two layers": (second_layer, "one layer.*layers.1"),
    "no MLP": (lambda header: header.pop("layers.0.mlp.fc_in.weight") and None, "one layer"),
    "two heads": (about(n_heads=2), "one head"),
    "another activation": (about(act_fn="gelu"), "ReLU"),
    "eps below 0": (about(eps=-1e-5), "positive eps"),
    "eps no number": (about(eps="nan"), "positive eps"),
    "eps without end": (about(eps="inf"), "positive eps"),
    "another half-length": (about(half_length=2), "does not fit"),
    "half-length 0": (about(half_length=0), "cannot be"),
    "fewer letters": (about(alphabet="abcd"), "does not fit"),
    "a letter twice": (about(alphabet="abcda"), "cannot be"),
    "a half-length of 3.5": (about(half_length=3.5), "cannot be"),
    "letters of two characters": (about(alphabet=["a", "ab", "c", "d", "e"]), "cannot be"),
    "no letters": (about(alphabet=""), "cannot be"),
    "a name twice": (twice, "stands twice"),
    "no header": (lambda header: b"{", "missing or damaged"),
    "no metadata": (lambda header: header.pop("__metadata__") and None, "missing or damaged"),
    "numbers overlap": (move_first_onto_second, "overlaps"),
    "float32": (set_entry("pos.weight", dtype="F32"), "not float64"),
    "another shape": (
        set_entry("head.weight", shape=[8, 8, 1]),
        "does not fit",
    ),
    "a negative shape": (set_entry("head.weight", shape=[8, -8]), "does not fit"),
    "a shape of fractions": (set_entry("head.weight", shape=[8, 8.0]), "does not fit"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_weights_with_a_false_header_are_refused(
    name: str, weights: bytes, certificate: bytes
) -> None:
    change, because = HEADERS[name]
    altered = with_header(weights, change)
    refused(altered, signed(altered, certificate), because)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(
    value: float, weights: bytes, certificate: bytes
) -> None:
    altered = weights[:-8] + struct.pack("<d", value)
    refused(altered, signed(altered, certificate), "not a finite number")


def test_weights_that_are_cut_off_or_too_long_are_refused(
    weights: bytes, certificate: bytes
) -> None:
    for altered, because in (
        (weights[:-8], "missing or damaged"),
        (weights + bytes(8), "bytes instead of"),
        (weights[:100], "missing or damaged"),
        (b"", "missing or damaged"),
    ):
        refused(altered, signed(altered, certificate), because)


def test_a_flipped_weight_is_noticed(weights: bytes, certificate: bytes) -> None:
    altered = weights[:-1] + bytes([weights[-1] ^ 0x80])
    refused(altered, certificate, "for other weights")


def verdicts_hold(model: Any, certificate: bytes) -> int:
    """How many leaves of a certificate that is signed for any model are decided; all must be so."""
    weights = exported(model, SMALL)
    with np.errstate(all="ignore"):
        leaves = checker.check(weights, signed(weights, certificate))
    found = truth(model)
    for leaf in leaves:
        rows = [
            np.isin(found.letters[:, slot], checker.letters_of(mask))
            for slot, mask in enumerate(leaf.box)
        ]
        inside = np.all(rows, axis=0)
        margins = found.margins[inside, leaf.query]
        targets = _targets(leaf.query, found.letters[inside])
        own = margins[np.arange(len(targets)), targets]
        least = np.where(np.arange(own.shape[1]) == targets[:, None], np.inf, own).min(1)
        assert leaf.verdict.name != "right" or (least > 0).all()
        assert leaf.verdict.name != "wrong" or (least < 0).all()
    return sum(leaf.verdict.name != "open" for leaf in leaves)


def _targets(query: int, letters: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    h = SMALL.half_length
    fixed = {h: len(SMALL.alphabet) + 2, 2 * h + 1: 1}
    if query in fixed:
        return np.full(len(letters), fixed[query])
    return np.asarray(letters[:, 2 * h - query] + 2)


def altered(change: Callable[[torch.Tensor], torch.Tensor], name: str) -> Any:
    model = init_model(ModelConfig(**SIZES), SMALL)
    weights = dict(noisy(0).state_dict())
    weights[name] = change(weights[name].clone())
    model.load_state_dict(weights)
    return model.eval()


@pytest.mark.parametrize(
    "name", ["head.weight", "ln_out.weight", "layers.0.attn.v.weight", "layers.0.mlp.fc_in.weight"]
)
@pytest.mark.parametrize("factor", [-1.0, 1e-300, 5e-324, -0.0, 1e120, 1e300])
def test_a_certificate_for_another_model_proves_nothing_false(
    name: str, factor: float, certificate: bytes
) -> None:
    decided = verdicts_hold(altered(lambda weight: weight * factor, name), certificate)
    if name == "head.weight" and factor in (5e-324, -0.0):
        assert decided == 0  # all logits are equal, so nothing is right, nor wrong


def test_a_huge_eps_proves_nothing_false(weights: bytes, certificate: bytes) -> None:
    huge = with_header(weights, about(eps=1e300))
    with np.errstate(all="ignore"):
        leaves = checker.check(huge, signed(huge, certificate))
    # What is normalised is the norm's bias: one token is answered, whatever the string.
    h = SMALL.half_length
    right = {leaf.query for leaf in leaves if leaf.verdict.name == "right"}
    assert right <= {h} or right <= {2 * h + 1}
    assert any(leaf.verdict.name == "wrong" for leaf in leaves)


def test_equal_logits_are_open() -> None:
    model = altered(lambda weight: torch.zeros_like(weight), "head.weight")
    weights = exported(model, SMALL)
    empty = json.dumps({"weights": "", "leaves": {}}).encode()
    leaves = checker.check(weights, signed(weights, empty))
    assert {leaf.verdict.name for leaf in leaves} == {"open"}


def test_other_shapes_and_lengths_are_proved_as_well() -> None:
    for task in (Task(alphabet="ab", half_length=1), Task(alphabet="abc", half_length=2)):
        model = init_model(ModelConfig(**SIZES), task)
        found = search(exported(model, task))
        leaves = checker.check(exported(model, task), found.certificate)
        strings = sum(checker.size(leaf.box) for leaf in leaves)
        assert strings == task.size * (task.n_positions - task.half_length)
