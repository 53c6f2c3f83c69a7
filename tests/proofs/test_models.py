"""Strings of few letters, and strings with a letter changed."""

from collections import Counter

from proofs.specimens import SMALL, noisy

from palindrome_lens.proofs.margins import changed, lowest, margins
from palindrome_lens.proofs.models import few_letter_strings
from palindrome_lens.tokenizer import decode, encode


def test_strings_of_few_letters_have_one_to_three() -> None:
    strings = few_letter_strings(SMALL, 3000, 0)
    letters = Counter(len(set(string[1:4])) for string in strings)
    assert set(letters) == {1, 2, 3}
    assert all(string == SMALL.string(string[1:4]) for string in strings)
    assert len({string for string in strings if len(set(string[1:4])) == 1}) == 5
    assert strings != few_letter_strings(SMALL, 3000, 1)


def test_changed_strings_are_strings_that_differ_in_at_most_one_letter() -> None:
    tokens = encode(SMALL, ["<abc|cba>", "<eee|eee>"])
    found = changed(SMALL, tokens)
    assert found.shape == (2, 15, 9)
    for row, first in zip(found, ["abc", "eee"], strict=True):
        strings = [decode(SMALL, one) for one in row]
        assert all(string == SMALL.string(string[1:4]) for string in strings)
        differ = [sum(a != b for a, b in zip(s[1:4], first, strict=True)) for s in strings]
        assert Counter(differ) == {0: 3, 1: 12}


def test_the_lowest_margin_is_found_on_a_small_task() -> None:
    every = margins(noisy(0), SMALL, encode(SMALL, SMALL.strings()))
    found = lowest(noisy(0), SMALL, starts=40)
    assert [low.query for low in found] == [3, 4, 5, 6, 7]
    for low, true in zip(found, every.min(dim=0).values.tolist(), strict=True):
        assert abs(low.margin - true) < 1e-9
        assert low.string in SMALL.strings()
