"""Characters to ids and back, and what is refused."""

import string

import pytest
from transformers import PreTrainedTokenizerFast

from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import decode, encode, make_tokenizer, token_mapping, vocabulary

TINY = Task(alphabet="abcd", half_length=2)


def test_the_original_has_29_ids() -> None:
    wanted = {"<": 0, ">": 1, "|": 28}
    wanted |= {letter: 2 + i for i, letter in enumerate(string.ascii_lowercase)}
    assert vocabulary(Task()) == wanted
    assert make_tokenizer(Task()).get_vocab() == wanted


def test_a_string_has_the_originals_ids() -> None:
    assert encode(Task(), ["<abc|cba>"]).tolist() == [[0, 2, 3, 4, 28, 4, 3, 2, 1]]


def test_the_model_splits_text_by_itself() -> None:
    model = hooked(init_model(ModelConfig(), Task()), ModelConfig(), Task())
    assert model.to_str_tokens("<abc|") == ["<", "a", "b", "c", "|"]
    assert model.to_tokens("<abc|").tolist() == [[0, 2, 3, 4, 28]]


def test_it_is_a_fast_tokenizer_whose_special_tokens_are_the_strings_own() -> None:
    tokenizer = make_tokenizer(Task())
    assert isinstance(tokenizer, PreTrainedTokenizerFast) and tokenizer.is_fast
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<", ">")
    assert tokenizer.model_max_length == 9
    assert tokenizer("<a|").input_ids == [0, 2, 28]


@pytest.mark.parametrize("task", [TINY, Task(alphabet="é😀A", half_length=3)])
def test_every_string_comes_back(task: Task) -> None:
    strings = task.strings()
    tokens = encode(task, strings)
    assert tokens.shape == (len(strings), task.n_positions + 1)
    assert [decode(task, row) for row in tokens] == strings
    assert make_tokenizer(task).decode(tokens[5].tolist()) == strings[5]


@pytest.mark.parametrize("task", [Task(alphabet="abc"), Task(alphabet="zä 𝔸", half_length=2)])
def test_strings_have_the_ids_that_the_tokenizer_gives_them(task: Task) -> None:
    by_tokenizer = make_tokenizer(task)(task.strings(), add_special_tokens=False)["input_ids"]
    assert encode(task, task.strings()).tolist() == by_tokenizer


def test_no_strings_have_no_ids() -> None:
    assert encode(TINY, []).shape == (0, 7)


def test_white_space_can_be_a_letter() -> None:
    task = Task(alphabet="a\n \r", half_length=2)
    assert [decode(task, row) for row in encode(task, task.strings())] == task.strings()


def test_an_unknown_character_is_named_with_its_position() -> None:
    said = r"'<aQ\|Qa>' has 'Q' at position 2; the tokenizer knows '<>abcd\|'"
    with pytest.raises(ValueError, match=said):
        encode(TINY, ["<ab|ba>", "<aQ|Qa>"])


@pytest.mark.parametrize(
    "call",
    [
        lambda tokenizer: tokenizer("<aQ"),
        lambda tokenizer: tokenizer(["<ab", "<aQ"]),
        lambda tokenizer: tokenizer.encode("<aQ"),
        lambda tokenizer: tokenizer.tokenize("<aQ"),
        lambda tokenizer: tokenizer("<ab", "<aQ"),
        lambda tokenizer: tokenizer(["<ab"], ["<aQ"]),
        lambda tokenizer: tokenizer([("<ab", "<aQ")]),
    ],
    ids=["text", "batch", "encode", "tokenize", "pair", "batch of two", "batch of pairs"],
)
def test_the_tokenizer_itself_refuses_an_unknown_character(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"'<aQ' has 'Q' at position 2"):
        call(make_tokenizer(TINY))


def test_the_model_refuses_an_unknown_character() -> None:
    model = hooked(init_model(ModelConfig(), TINY), ModelConfig(), TINY)
    with pytest.raises(ValueError, match="'Q' at position 1"):
        model.to_tokens("<Q")


def test_a_string_longer_than_the_context_is_refused() -> None:
    said = r"'<abc\|cba>' has 9 characters; strings of half-length 2 have at most 7"
    with pytest.raises(ValueError, match=said):
        encode(TINY, ["<abc|cba>"])


def test_strings_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'<a' has 2 characters and the first string 7"):
        encode(TINY, ["<ab|ba>", "<a"])


def test_the_token_mapping_names_each_token() -> None:
    mapping = token_mapping(Task(alphabet="aé"), "<é|")
    assert [tuple(row) for row in mapping] == [
        (0, 0, "3C", "<", "LESS-THAN SIGN"),
        (1, 3, "C3 A9", "é", "LATIN SMALL LETTER E WITH ACUTE"),
        (2, 4, "7C", "|", "VERTICAL LINE"),
    ]


def test_the_token_mapping_refuses_an_unknown_character() -> None:
    with pytest.raises(ValueError, match="'Z' at position 1"):
        token_mapping(Task(), "<Z")
