"""The strings of a task, how they are divided, and the floor of the loss."""

import math
import re
from collections import Counter, defaultdict
from typing import Any

import pytest
import torch

from palindrome_lens.config import ConfigError
from palindrome_lens.task import Task, distinct, inputs, letters, split, targets

TINY = Task(alphabet="abcd", half_length=2)
LARGE = Task(half_length=8)


def test_the_original_task_has_17576_different_strings() -> None:
    strings = Task().strings()
    assert len(strings) == len(set(strings)) == 17_576 == Task().size


def test_strings_come_in_product_order() -> None:
    strings = Task().strings()
    assert strings[:2] == ["<aaa|aaa>", "<aab|baa>"]
    assert strings[26] == "<aba|aba>"
    assert strings[-1] == "<zzz|zzz>"
    assert strings == sorted(strings)


@pytest.mark.parametrize("task", [TINY, Task(alphabet="xyz", half_length=4)])
def test_every_string_is_a_half_a_bar_and_the_half_reversed(task: Task) -> None:
    h = task.half_length
    for text in task.strings():
        assert re.fullmatch(rf"<[{task.alphabet}]{{{h}}}\|[{task.alphabet}]{{{h}}}>", text)
        assert text[1:-1] == text[-2:0:-1]


def test_one_string_is_written_from_its_letters() -> None:
    assert Task().string("abc") == "<abc|cba>"


def test_positions_are_free_then_bar_then_mirrored_then_end() -> None:
    task = Task()
    assert task.n_positions == 8
    assert list(task.free_positions) == [0, 1, 2]
    assert list(task.mirrored_positions) == [4, 5, 6]


@pytest.mark.parametrize("task", [TINY, Task(alphabet="ab", half_length=5)])
def test_the_mirror_position_holds_the_letter_to_be_copied(task: Task) -> None:
    for text in task.strings():
        for position in task.mirrored_positions:
            assert text[task.mirror_position(position)] == text[position + 1]


def test_a_query_and_the_slot_that_it_copies_lead_to_each_other() -> None:
    assert [Task().slot_of(query) for query in (4, 5, 6)] == [2, 1, 0]
    assert [Task().query_of(slot) for slot in (0, 1, 2)] == [6, 5, 4]
    for missing in (-1, 3):
        with pytest.raises(ValueError, match=f"The slot is {missing}; 0 to 2 exist"):
            Task().query_of(missing)
    with pytest.raises(ValueError, match="Position 3 predicts no mirrored letter"):
        Task().slot_of(3)


def test_the_mirror_position_is_the_one_in_the_first_half() -> None:
    assert [Task().mirror_position(p) for p in (4, 5, 6)] == [3, 2, 1]


@pytest.mark.parametrize("position", [0, 2, 3, 7, -1])
def test_a_position_that_predicts_no_mirrored_letter_has_no_mirror(position: int) -> None:
    with pytest.raises(ValueError, match=rf"Position {position} .* positions 4 to 6 do"):
        Task().mirror_position(position)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"alphabet": "abca"}, "'abca' repeats 'a'"),
        ({"alphabet": "a|b"}, "'a|b' holds '|'"),
        ({"alphabet": "<ab>"}, "'<ab>' holds '<', '>'"),
        ({"alphabet": ""}, "(empty); it needs at least one letter"),
        ({"half_length": 0}, "Task.half_length is 0 (int)"),
        ({"half_length": -2}, "Task.half_length is -2 (int)"),
        ({"half_length": "3"}, "Task.half_length is '3' (str)"),
        ({"alphabet": None}, "Task.alphabet is None"),
        ({"letters": "ab"}, "no field 'letters'; its fields are alphabet, half_length"),
    ],
)
def test_an_impossible_task_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Task(**fields)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_drawing_as_many_as_exist_gives_each_once() -> None:
    assert sorted(TINY.sample(16)) == TINY.strings()


def test_a_sample_of_a_large_task_has_no_repeats_and_only_strings_of_the_task() -> None:
    drawn = LARGE.sample(3000, seed=1)
    assert len(set(drawn)) == 3000
    for text in drawn:
        assert re.fullmatch(r"<[a-z]{8}\|[a-z]{8}>", text)
        assert text[1:9] == text[10:18][::-1]


def test_a_sample_of_a_large_task_shows_every_letter_in_every_slot() -> None:
    drawn = LARGE.sample(3000)
    for slot in range(1, 9):
        counts = Counter(text[slot] for text in drawn)
        assert len(counts) == 26
        assert max(counts.values()) < 2 * 3000 / 26


def test_no_string_repeats_where_the_same_is_often_drawn_again() -> None:
    task = Task(alphabet="ab", half_length=18)
    assert len(set(task.sample(8000))) == 8000


@pytest.mark.parametrize("task", [Task(), LARGE])
def test_a_seed_gives_one_sample_and_another_seed_another(task: Task) -> None:
    assert task.sample(50, seed=3) == task.sample(50, seed=3)
    assert task.sample(50, seed=3) != task.sample(50, seed=4)


@pytest.mark.parametrize("n", [17, -1])
def test_more_strings_than_exist_cannot_be_drawn(n: int) -> None:
    with pytest.raises(ValueError, match=rf"{n} strings were asked for; 0 to 16 can be drawn"):
        TINY.sample(n)


def test_too_many_strings_are_not_enumerated() -> None:
    with pytest.raises(ValueError, match=r"208,827,064,576 strings; up to 500,000"):
        LARGE.strings()


def test_the_ordered_split_is_the_originals() -> None:
    train, test = split(Task(), "ordered")
    assert (len(train), len(test)) == (15_819, 1_757)
    assert train + test == Task().strings()
    assert {text[1] for text in test} == set("xyz")
    assert {text[1] for text in train} == set("abcdefghijklmnopqrstuvwx")


def test_the_random_split_divides_all_strings_and_mixes_them() -> None:
    train, test = split(Task(), "random")
    assert (len(train), len(test)) == (15_819, 1_757)
    assert sorted(train + test) == Task().strings()
    assert {text[1] for text in test} == {text[1] for text in train} == set(Task().alphabet)


def test_the_random_split_follows_its_seed() -> None:
    assert split(TINY, test_fraction=0.5, seed=1) == split(TINY, test_fraction=0.5, seed=1)
    assert split(TINY, test_fraction=0.5, seed=1) != split(TINY, test_fraction=0.5, seed=2)


def test_train_and_test_of_a_large_task_share_nothing() -> None:
    train, test = split(LARGE, n=5000, test_fraction=0.3)
    assert (len(set(train)), len(set(test))) == (3500, 1500)
    assert not set(train) & set(test)


@pytest.mark.parametrize(
    ("task", "how", "said"),
    [
        (TINY, {"kind": "stratified"}, "'stratified'; 'random' and 'ordered' are allowed"),
        (TINY, {"test_fraction": 0.01}, "0.01 takes 0 of 16 strings; 1 to 15 are allowed"),
        (TINY, {"test_fraction": 1.0}, "1.0 takes 16 of 16 strings; 1 to 15 are allowed"),
        (TINY, {"test_fraction": -0.5}, "-0.5 takes -8 of 16"),
        (TINY, {"n": 17}, "17 strings were asked for; 0 to 16 can be drawn"),
        (TINY, {"n": 8, "kind": "ordered"}, "An ordered split is defined for all strings"),
        (LARGE, {}, "say how many to draw (n)"),
        (LARGE, {"kind": "ordered"}, "say how many to draw (n)"),
    ],
)
def test_an_impossible_split_is_refused(task: Task, how: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        split(task, **how)
    assert said in str(caught.value)


def test_the_floor_is_three_letters_out_of_eight_positions() -> None:
    assert Task().floor() == pytest.approx(3 * math.log(26) / 8, abs=1e-12)
    assert Task().floor() == pytest.approx(1.2218, abs=5e-5)


@pytest.mark.parametrize("task", [Task(), TINY, Task(alphabet="abc", half_length=5)])
def test_the_best_predictor_of_all_strings_attains_the_floor(task: Task) -> None:
    strings = task.strings()
    loss = 0.0
    for position in range(task.n_positions):
        following: dict[str, Counter[str]] = defaultdict(Counter)
        for text in strings:
            following[text[: position + 1]][text[position + 1]] += 1
        for counts in following.values():
            total = counts.total()
            loss -= sum(count * math.log(count / total) for count in counts.values())
    assert loss / (len(strings) * task.n_positions) == pytest.approx(task.floor(), abs=1e-12)


def test_targets_are_the_inputs_one_later() -> None:
    tokens = torch.tensor([[0, 2, 3, 6, 3, 2, 1]])
    assert inputs(tokens).tolist() == [[0, 2, 3, 6, 3, 2]]
    assert targets(tokens).tolist() == [[2, 3, 6, 3, 2, 1]]


def test_letters_are_those_before_the_bar() -> None:
    assert letters(TINY, torch.tensor([[0, 2, 3, 6, 3, 2, 1]])).tolist() == [[2, 3]]


def test_distinct_counts_different_rows() -> None:
    assert distinct(torch.tensor([[1, 2], [2, 1], [1, 2], [1, 1]])) == 3
