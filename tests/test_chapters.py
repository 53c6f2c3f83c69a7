"""What readers may choose: impossible values are refused in one sentence, at once."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import variants
from hypothesis import given, settings
from hypothesis import strategies as st

from claimbook import parameters, stored_form
from claimbook.project import Project
from palindrome_lens.config import ConfigError
from palindrome_lens.parameters import Hook, OfBook, OfTask

PROJECT = Project(Path(__file__).parents[1])
NAMES = PROJECT.names()


@cache
def standing_in(name: str) -> dict[str, Any]:
    """The parameters of a notebook as they stand there."""
    return parameters.standing(PROJECT.source(name))


record_of = cache(variants.record_of)


def refusal(name: str, **values: Any) -> str:
    """What is said about values that differ from those in the notebook; empty if nothing is."""
    standing = standing_in(name)
    assert values.keys() <= standing.keys()
    try:
        record_of(name).of(standing | values)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", NAMES)
def test_the_record_has_what_stands_in_the_notebook(name: str) -> None:
    standing = standing_in(name)
    assert record_of(name).model_fields.keys() == standing.keys()
    assert record_of(name).of(standing).model_dump() == standing


@pytest.mark.parametrize("name", NAMES)
def test_the_record_is_made_by_the_first_cell_that_can(name: str) -> None:
    """No time is spent before: only imports and assignments stand above."""
    cells = stored_form.read_source(PROJECT.source(name)).cells
    _, _, first, *_ = (cell.source for cell in cells if cell.cell_type == "code")
    assert first.startswith("choice = chapters.")


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("01_data", {"half_length": 5}, "26 letters and half-length 5 make 11,881,376 strings; "),
        ("01_data", {"half_length": 0}, "half_length is 0 (int): it must be greater than or equal"),
        ("01_data", {"half_length": "3"}, "half_length is '3' (str): it must be a valid integer."),
        ("01_data", {"seed": "x"}, "seed is 'x' (str): it must be a valid integer."),
        ("01_data", {"alphabet": "abca"}, "The alphabet 'abca' repeats 'a'; "),
        ("01_data", {"alphabet": "a`"}, "alphabet holds '`'; letters and digits are allowed."),
        ("01_data", {"alphabet": "a"}, "alphabet has 1 letter; at least 2 are needed."),
        ("01_data", {"test_fraction": 1.0}, "test_fraction is 1.0 (float): it must be less than 1"),
        ("01_data", {"test_fraction": 1e-5}, "26 letters and half-length 3 make 17,576 strings, "),
        ("02_training", {"half_length": 1}, "26 letters and half-length 1 make 26 strings, 24 of "),
        ("02_training", {"batch_size": 20_000}, "26 letters and half-length 3 make 17,576 strings"),
        ("02_training", {"steps": 0}, "steps is 0 (int): it must be greater than or equal to 1."),
        ("02_training", {"device": "gpu"}, "device is 'gpu': this machine has cpu"),
        ("02_training", {"device": "cuda:99"}, "device is 'cuda:99': this machine has cpu"),
        ("02_training", {"wandb_mode": "of"}, "wandb_mode is 'of' (str): it must be 'offline', "),
        ("02_training", {"seeds": [1, 1]}, "[1, 1] holds 1 more than once; each counts once."),
        ("02_training", {"seeds": []}, "seeds is [] (list): list should have at least 1 item"),
        (
            "03_attention",
            {"alphabet": "abcde"},
            "5 letters and half-length 3 make 125 strings, 113 ",
        ),
        ("03_attention", {"half_length": 1}, "half_length is 1; 2 is the least."),
        ("04_weights", {"n_heads": 2}, "n_heads is 2; this chapter reads one head, and allows 1."),
        ("05_mechanism", {"half_length": 4}, "26 letters and half-length 4 make 456,976 strings; "),
        (
            "11_letters",
            {"half_length": 4},
            "half_length is 4; this chapter reads a table of models ",
        ),
        ("13_dictionary", {"k": 513}, "k is 513; there are 512 latents (d_sae)."),
        ("13_dictionary", {"hook": "blocks.0.attn.hook_pattern"}, "hook is 'blocks.0.attn.hook_pa"),
        ("15_architectures", {"batch_size": 20_000}, "batch_size is 20,000; there are 17,576 str"),
        (
            "17_leaderboard",
            {"probed_again": 10},
            "probed_again is 10 (int): it must be less than 10",
        ),
    ],
)
def test_what_cannot_be_is_refused(name: str, values: dict[str, Any], said: str) -> None:
    sentence = refusal(name, **values)
    assert sentence.startswith(said)
    assert "\n" not in sentence and sentence.endswith(".")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("01_data", {"half_length": 1}),
        ("01_data", {"half_length": 4}),
        ("01_data", {"alphabet": "abc"}),
        ("01_data", {"alphabet": "äöüß5"}),
        ("02_training", {"half_length": 1, "batch_size": 24}),
        ("02_training", {"half_length": 2}),
        ("02_training", {"steps": 10}),
        ("03_attention", {"half_length": 4, "alphabet": "abcdefghij", "n_heads": 2}),
        ("09_mlp", {"seeds": [7]}),
        ("10_emergence", {"seed": 7}),
    ],
)
def test_what_can_be_is_not(name: str, values: dict[str, Any]) -> None:
    assert refusal(name, **values) == ""


@pytest.mark.parametrize("name", NAMES)
def test_what_papermill_injects_is_held_to_the_names(name: str) -> None:
    standing = standing_in(name)
    first, last = next(iter(standing)), next(reversed(standing))
    own = [
        "import torch",
        f"# Parameters\n{first} = 1",
        f"# Parameters\n{last} = {standing[last]!r}",
    ]
    assert record_of(name).of(standing | {"In": own})
    with pytest.raises(ConfigError, match=f"no field '{last}x' .the nearest is '{last}'"):
        record_of(name).of(standing | {"In": [*own, f"# Parameters\n{last}x = 2\n"], f"{last}x": 2})


def test_the_example_goes_through_the_alphabet() -> None:
    assert OfTask(alphabet="abcdef", half_length=3).example == "<abc|cba>"
    assert OfTask(alphabet="01", half_length=5).example == "<01010|01010>"


def test_what_needs_the_book_says_which_value() -> None:
    for name in NAMES:
        if issubclass(record_of(name), OfBook):
            said = refusal(name, d_model=32)
            assert said.startswith("d_model is 32; this chapter ")
            assert said.endswith(", so 16 alone is allowed.")


NUMBERS = st.integers(-3, 40) | st.sampled_from([64, 256, 512, 1024, 20_000, 2**31])
ANYTHING = st.one_of(
    NUMBERS,
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(max_size=8),
    st.sampled_from(["cpu", "cuda", "mps", "disabled", *Hook.__args__]),  # type: ignore[attr-defined]
    st.lists(NUMBERS, max_size=4),
    st.text("abcdefghijklmnopqrstuvwxyzäöü0123<>|", min_size=1, max_size=40),
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_drawn_is_taken_or_refused_in_one_sentence(name: str, data: Any) -> None:
    standing = standing_in(name)
    changed = data.draw(st.sets(st.sampled_from(sorted(standing)), min_size=1, max_size=3))
    said = refusal(name, **{field: data.draw(ANYTHING, label=field) for field in changed})
    assert "\n" not in said and (not said or said.endswith("."))
