"""The shortest rule, on supports whose rule is known, and against all rules of a tiny alphabet."""

import itertools

import pytest
import torch
from torch import Tensor

from palindrome_lens.dictionary.rules import (
    Rule,
    as_frame,
    description,
    exceptions,
    shortest,
    union,
)
from palindrome_lens.task import Task

TASK = Task(alphabet="abcde", half_length=3)
TINY = Task(alphabet="abc", half_length=2)


def support(*patterns: str) -> Tensor:
    """All strings that agree with one of the patterns; a dot is any letter, A any but a."""

    def fits(letters: tuple[str, ...], pattern: str) -> bool:
        return all(
            p in (".", x) or (p.isupper() and p.lower() != x)
            for x, p in zip(letters, pattern, strict=True)
        )

    strings = itertools.product(TASK.alphabet, repeat=3)
    return torch.tensor([any(fits(one, p) for p in patterns) for one in strings])


@pytest.mark.parametrize(
    ("patterns", "text", "letters"),
    [
        (["a.."], "a··", 1),
        ([".c."], "·c·", 1),
        (["..e"], "··e", 1),
        (["a..", "e.."], "[ae]··", 2),
        (["A.."], "[^a]··", 1),
        (["a.c"], "a·c", 2),
        (["abc"], "abc", 3),
        (["a..", "..c"], "a·· or ··c", 2),
        (["a..", ".b.", "..c"], "a·· or ·b· or ··c", 3),
        (["..."], "···", 0),
    ],
)
def test_a_support_made_by_a_rule_gets_that_rule(
    patterns: list[str], text: str, letters: int
) -> None:
    rule = shortest(TASK, support(*patterns))
    assert sorted(rule.text.split(" or ")) == sorted(text.split(" or "))
    assert (rule.letters, rule.exact, rule.precision, rule.recall) == (letters, True, 1, 1)


def test_one_exception_is_not_worth_a_term_and_three_in_a_row_are() -> None:
    one = shortest(TASK, support("a..", "bcd"))
    assert (one.text, one.exceptions, one.support) == ("a··", 1, 26)
    assert one.recall == 25 / 26
    three = shortest(TASK, support("a..", "bcc", "bcd", "bce"))
    assert (three.text, three.exceptions) == ("a·· or bc[^ab]", 0)


def test_what_the_rule_marks_too_much_lowers_precision_not_recall() -> None:
    fires = support("a..") & ~support("abc")
    rule = shortest(TASK, fires)
    assert (rule.text, rule.holds, rule.both) == ("a··", 25, 24)
    assert (rule.precision, rule.recall, rule.exceptions) == (24 / 25, 1, 1)


def test_the_first_term_holds_on_most_and_says_which_slots_the_rule_is_about() -> None:
    rule = shortest(TASK, support("bb.", "..c"))
    assert rule.text == "··c or bb·"
    assert rule.slots().tolist() == [False, False, True]
    assert shortest(TASK, support("A.c")).slots().tolist() == [False, False, True]


def all_terms(task: Task) -> list[Tensor]:
    n = len(task.alphabet)
    rows = [torch.tensor(row) for row in itertools.product([False, True], repeat=n) if any(row)]
    return [torch.stack(term) for term in itertools.product(rows, repeat=task.half_length)]


def every_support() -> list[Tensor]:
    return [torch.tensor(bits) for bits in itertools.product([False, True], repeat=9) if any(bits)]


def test_one_term_is_the_best_of_all_terms_on_every_support_of_nine_strings() -> None:
    terms = all_terms(TINY)
    for fires in every_support():
        grid = fires.reshape(3, 3)
        found = shortest(TINY, fires, most_terms=1)
        assert description(grid, list(found.terms)) == min(description(grid, [t]) for t in terms)


def test_no_other_letters_in_one_slot_of_any_term_are_shorter() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = [torch.tensor(row) for row in itertools.product([False, True], repeat=5)]
    for density in (0.1, 0.3, 0.6):
        fires = torch.rand(125, generator=generator) < density
        grid, rule = fires.reshape(5, 5, 5), shortest(TASK, fires)
        own = description(grid, list(rule.terms))
        for i, slot, row in itertools.product(range(len(rule.terms)), range(3), rows):
            terms = [term.clone() for term in rule.terms]
            terms[i][slot] = row
            assert description(grid, terms) >= own


def test_the_counts_are_those_of_the_union() -> None:
    fires = support("a.c", "bbb", "d..")
    grid, rule = fires.reshape(5, 5, 5), shortest(TASK, fires, most_terms=2)
    holds = union(grid, list(rule.terms)).flatten()
    assert torch.equal(rule.marks(), holds)
    assert (rule.support, rule.holds) == (int(fires.sum()), int(holds.sum()))
    assert rule.both == int((fires & holds).sum())
    assert rule.exceptions == exceptions(grid, list(rule.terms)) == int((fires != holds).sum())


def test_a_frame_has_a_row_for_each_latent() -> None:
    fires = support("a..")
    fires[support("b.b")] = True
    rules = {7: shortest(TASK, support("a..")), 9: shortest(TASK, fires, most_terms=1)}
    frame = as_frame(rules)
    assert frame.loc[7].tolist() == ["a··", 25, 1.0, 1.0, 0, True]
    assert frame.loc[9].tolist() == ["a··", 30, 1.0, 25 / 30, 5, False]


def test_a_rule_that_never_holds_has_precision_0() -> None:
    never = torch.zeros(2, 3, dtype=torch.bool)
    assert Rule((never,), "abc", support=2, holds=0, both=0).precision == 0


def test_what_cannot_have_a_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="fires on no string"):
        shortest(TASK, torch.zeros(125, dtype=torch.bool))
    with pytest.raises(ValueError, match="9 entries for 125 strings"):
        shortest(TASK, torch.ones(9, dtype=torch.bool))
