"""The search divides cells, and finds one string among 26 ** 8."""

import numpy as np
import pytest
from proofs.specimens import SMALL, model_of, noisy, planted

from palindrome_lens.proofs import checker, search
from palindrome_lens.proofs.files import exported

QUERY = 8
"""The query of the bar at half-length 8, where the failure is planted."""


def test_halves_divide_a_box() -> None:
    model = model_of(checker, exported(noisy(0), SMALL))
    for cell in checker.cells(SMALL.half_length, SMALL.alphabet):
        waiting, single = [cell.root], 0
        table = model.attention(cell.query, cell.own)
        while waiting:
            box = waiting.pop()
            if checker.size(box) == 1:
                single += 1
                continue
            left, right = search.halves(table, box)
            assert checker.size(left) + checker.size(right) == checker.size(box)
            assert all(
                a & ~b == 0 for half in (left, right) for a, b in zip(half, box, strict=True)
            )
            waiting += [left, right]
        assert single == checker.size(cell.root)


def test_one_wrong_string_of_26_to_the_8_is_found() -> None:
    found = search.search(planted(), queries=[QUERY])
    assert found.open == []
    leaves = checker.check(planted(), found.certificate, [QUERY])
    wrong = [leaf for leaf in leaves if leaf.verdict.name == "wrong"]
    (leaf,) = wrong
    assert leaf.box == [1 << 7] * 8  # hhhhhhhh
    assert sum(checker.size(leaf.box) for leaf in leaves) == 26**8


def test_without_cuts_the_cell_of_the_wrong_string_stays_open() -> None:
    empty = search.search(planted(), limit=1, queries=[QUERY])
    leaves = checker.check(planted(), empty.certificate, [QUERY])
    still_open = [leaf.box for leaf in leaves if leaf.verdict.name == "open"]
    assert still_open
    assert all(box[7] == 1 << 7 for box in still_open)
    assert {query for query, _ in empty.open} == {QUERY}


@pytest.mark.parametrize("limit", [1, 5])
def test_a_search_that_is_cut_short_still_makes_a_certificate(limit: int) -> None:
    weights = exported(noisy(1), SMALL)
    found = search.search(weights, limit=limit)
    with np.errstate(all="ignore"):
        leaves = checker.check(weights, found.certificate)
    still_open = [(leaf.query, leaf.box) for leaf in leaves if leaf.verdict.name == "open"]
    assert still_open
    assert all(box in found.open for box in still_open)
