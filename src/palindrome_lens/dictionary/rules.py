"""The shortest rule on letters and slots that describes where a latent fires.

A *term* allows some letters in each slot; it holds on a box of strings. A rule is a union of terms.
Every support has an exact rule, the list of its strings, which says nothing. So a rule is charged
for what it gets wrong: its *description* is the rule together with the list of its exceptions
(minimum description length, Rissanen 1978). The unit is one letter: naming a letter in a slot costs
1, and naming a string that the rule gets wrong costs as many letters as a string has slots.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool
from pandas import DataFrame
from torch import Tensor

from palindrome_lens.task import Task

MOST_TERMS = 3
SWEEPS = 20
"""A safeguard: each sweep shortens the description or is the last, and three or four suffice."""

Term = Bool[Tensor, "slot letter"]
"""The letters that are allowed in each slot."""


class Rule(NamedTuple):
    """A union of terms, and how well it describes a support; all numbers are exact."""

    terms: tuple[Term, ...]
    alphabet: str
    support: int
    """Strings on which the latent is above 0."""
    holds: int
    """Strings on which the rule holds."""
    both: int
    """Strings on which the rule holds and the latent is above 0."""

    @property
    def precision(self) -> float:
        """Of the strings on which the rule holds, the share on which the latent fires; 0 of 0."""
        return self.both / self.holds if self.holds else 0.0

    @property
    def recall(self) -> float:
        """Of the strings on which the latent fires, the share on which the rule holds."""
        return self.both / self.support

    @property
    def exceptions(self) -> int:
        """Strings that the rule gets wrong, either way."""
        return self.holds + self.support - 2 * self.both

    @property
    def exact(self) -> bool:
        return self.exceptions == 0

    @property
    def letters(self) -> int:
        """How many letters the rule names."""
        return sum(cost(term) for term in self.terms)

    def slots(self) -> Bool[Tensor, "slot"]:
        """The slots that the rule is about: where its first term allows half the letters or fewer.

        The first term is the one that holds on most of the support.
        """
        return 2 * self.terms[0].sum(dim=1) <= len(self.alphabet)

    def marks(self) -> Bool[Tensor, "strings"]:
        """On which of all strings the rule holds, in the order of ``Task.strings``."""
        return torch.stack([_box(list(term)) for term in self.terms]).any(dim=0).flatten()

    @property
    def text(self) -> str:
        """``a··``: a in the first slot; ``·[ae]·``: a or e in the second; ``[^a]··``: any but a.

        Terms are joined by ``or``.
        """
        return " or ".join(_written(term, self.alphabet) for term in self.terms)


def as_frame(rules: Mapping[int, Rule]) -> DataFrame:
    """One row for each latent, by its number: its rule, the strings on which it fires, and how well
    the two agree."""
    columns = ["rule", "strings", "precision", "recall", "exceptions", "exact"]
    rows = [
        (r.text, r.support, r.precision, r.recall, r.exceptions, r.exact) for r in rules.values()
    ]
    return DataFrame(rows, index=[*rules], columns=columns)


def cost(term: Term) -> int:
    """How many letters a term names: in each slot those allowed, or the others if fewer."""
    allowed = term.sum(dim=1)
    return int(torch.minimum(allowed, term.shape[1] - allowed).sum())


def _written(term: Term, alphabet: str) -> str:
    words = []
    for allowed in term.tolist():
        named = [letter for letter, there in zip(alphabet, allowed, strict=True) if there]
        others = [letter for letter in alphabet if letter not in named]
        if not others:
            words.append("·")
        elif len(named) == 1:
            words.append(named[0])
        else:
            short = named if len(named) <= len(others) else ["^", *others]
            words.append(f"[{''.join(short)}]")
    return "".join(words)


def shortest(task: Task, support: Bool[Tensor, "strings"], most_terms: int = MOST_TERMS) -> Rule:
    """The rule with the shortest description that the search below finds.

    A term starts as the letter of one slot on which the latent fires most, or as these letters in
    all slots, or as one string. Then one slot at a time gets the best of all sets of letters, given
    the other slots and the other terms, until nothing changes. Of all starts the shortest
    description stays; of equals, the one with fewer exceptions. Further terms are added in the same
    way while each of them shortens the description.

    So the result is the shortest in this sense: no other set of letters in any one slot of any term
    describes the support in fewer letters. Two changes at once are not tried.

    Args:
        support: which of all strings, in the order of ``Task.strings``.

    Raises:
        ValueError: there is not one entry for each string, or the latent fires on none.
    """
    if support.shape != (task.size,):
        raise ValueError(f"The support has {len(support):,} entries for {task.size:,} strings.")
    if not bool(support.any()):
        raise ValueError("The latent fires on no string; a rule needs at least one.")
    n = len(task.alphabet)
    grid = support.reshape([n] * task.half_length)
    terms: list[Term] = []
    for _ in range(most_terms):
        best = min(
            (_improved(grid, [*terms, start]) for start in _starts(grid)),
            key=lambda candidate: (description(grid, candidate), exceptions(grid, candidate)),
        )
        # A single string costs as much as an exception: as the only term it says more.
        if terms and description(grid, best) >= description(grid, terms):
            break
        terms = best
    holds = union(grid, terms)
    largest_first = sorted(terms, key=lambda term: -int((union(grid, [term]) & grid).sum()))
    return Rule(
        tuple(largest_first),
        task.alphabet,
        support=int(grid.sum()),
        holds=int(holds.sum()),
        both=int((holds & grid).sum()),
    )


def description(grid: Bool[Tensor, "*slots"], terms: list[Term]) -> int:
    """Letters named by the terms, plus a whole string for each exception."""
    return sum(cost(term) for term in terms) + grid.dim() * exceptions(grid, terms)


def exceptions(grid: Bool[Tensor, "*slots"], terms: list[Term]) -> int:
    """How many strings the terms get wrong, either way."""
    return int((union(grid, terms) != grid).sum())


def union(grid: Bool[Tensor, "*slots"], terms: list[Term]) -> Bool[Tensor, "*slots"]:
    """Where at least one of the terms holds, over all combinations of letters."""
    holds = torch.zeros_like(grid)
    for term in terms:
        holds |= _box(list(term))
    return holds


def _box(allowed: list[Bool[Tensor, "letter"]]) -> Bool[Tensor, "*slots"]:
    box = torch.ones((), dtype=torch.bool)
    for letters in allowed:
        box = box.unsqueeze(-1) & letters
    return box


def _starts(grid: Bool[Tensor, "*slots"]) -> list[Term]:
    """For each slot its most frequent letter alone; all of these together; the first string."""
    n, slots = grid.shape[0], grid.dim()
    counts = torch.stack(
        [grid.sum(dim=tuple(s for s in range(slots) if s != slot)) for slot in range(slots)]
    )
    frequent = torch.nn.functional.one_hot(counts.argmax(dim=1), n).bool()
    first = torch.nn.functional.one_hot(grid.nonzero()[0], n).bool()
    single = [
        torch.ones_like(frequent).index_put((torch.tensor([s]),), frequent[s]) for s in range(slots)
    ]
    return [*single, frequent, first]


def _improved(grid: Bool[Tensor, "*slots"], terms: list[Term]) -> list[Term]:
    """Change one slot of one term at a time to the best set of letters, until nothing changes."""
    terms = [term.clone() for term in terms]
    for _ in range(SWEEPS):
        before = description(grid, terms)
        for i in range(len(terms)):
            others = union(grid, terms[:i] + terms[i + 1 :])
            for slot in range(grid.dim()):
                terms[i][slot] = _best_letters(grid, others, terms[i], slot)
        if description(grid, terms) == before:
            break
    return [term for term in terms if bool(term.any(dim=1).all())]


def _best_letters(
    grid: Bool[Tensor, "*slots"], others: Bool[Tensor, "*slots"], term: Term, slot: int
) -> Bool[Tensor, "letter"]:
    """The best set of letters for a slot: of each size, those letters that mend the most.

    Exact, because a letter's worth does not depend on the other letters of its slot.
    """
    free = [torch.ones_like(row) if s == slot else row for s, row in enumerate(term)]
    open_to_it = _box(free) & ~others
    rest = tuple(s for s in range(grid.dim()) if s != slot)
    worth = (open_to_it & grid).sum(dim=rest) - (open_to_it & ~grid).sum(dim=rest)
    n = len(worth)
    order = worth.argsort(descending=True, stable=True)
    sizes = torch.arange(n + 1)
    gained = torch.cat([torch.zeros(1, dtype=worth.dtype), worth[order].cumsum(0)])
    shorter = grid.dim() * gained - torch.minimum(sizes, n - sizes)
    # Of equals, the size that mends more.
    size = int((shorter * (grid.numel() + 1) + gained).argmax())
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[order[:size]] = True
    return chosen
