"""The short form of ``make variants``: each notebook once, as small as it can be.

What needs the book's own task stops in its first cell, with one sentence.
"""

from collections.abc import Iterator

import pytest
import variants

from claimbook import claims, execute, parameters
from claimbook.project import Project

PROJECT: Project = variants.PROJECT


@pytest.fixture(scope="module", autouse=True)
def _warm() -> Iterator[None]:
    with variants.warm_kernels(PROJECT.names()):
        yield


@pytest.mark.parametrize("name", PROJECT.names())
def test_it_runs_to_its_end_or_says_at_once_why_not(name: str) -> None:
    standing = parameters.standing(PROJECT.source(name))
    chosen = variants.SHORT.get(name, variants.REFUSED)
    values = {key: value for key, value in chosen.items() if key in standing}
    assert values
    if name in variants.SHORT:
        ran = execute.run(PROJECT, name, alone=False, values=values)
        assert list(claims.of_cells(ran.cells))
        return
    with pytest.raises(execute.Refused) as caught:
        execute.run(PROJECT, name, alone=False, values=values)
    assert str(caught.value).startswith(f"{name}: half_length is 2; this chapter ")


@pytest.mark.parametrize("name", PROJECT.names())
def test_there_are_three_settings_and_more_for_each_notebook(name: str) -> None:
    """Those that the notebook refuses do not count."""
    taken = [s for s in variants.SETTINGS if s != "small" and variants.taken(name, s)]
    assert len(taken) >= 3, taken


def test_what_a_notebook_does_not_know_is_not_tried() -> None:
    assert variants.values_of("01_data", "two heads") is None
    assert variants.values_of("12_atoms", "fewer images") == {
        "n_seeds": 2,
        "n_images": 300,
        "iterations": 3,
    }
