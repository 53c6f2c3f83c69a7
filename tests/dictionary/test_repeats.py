"""The repeated autoencoder: what each is trained on, what is counted, and the shipped table."""

import pytest
import torch

from palindrome_lens import evaluation, training
from palindrome_lens.dictionary import repeats
from palindrome_lens.dictionary.repeats import Case
from palindrome_lens.task import Task, letters
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
TOKENS = encode(TINY, TINY.strings())


def test_shuffling_keeps_each_number_and_parts_it_from_the_others() -> None:
    x = torch.arange(400, dtype=torch.float64).view(100, 4)
    mixed = repeats.shuffled(x, seed=3)
    assert torch.equal(mixed.sort(dim=0).values, x)
    kept_together = (mixed[:, 1:] - mixed[:, :1] == torch.tensor([1.0, 2.0, 3.0])).all(dim=1)
    assert kept_together.sum() < 5
    assert torch.equal(mixed, repeats.shuffled(x, seed=3))
    assert not torch.equal(mixed, repeats.shuffled(x, seed=4))


def test_an_untrained_transformer_is_the_one_before_its_first_step() -> None:
    untrained = repeats.material("untrained", 1)
    assert evaluation.evaluate(untrained.model, untrained.tokens).mean_loss > 3
    assert len(untrained.seen) == len(untrained.seen.unique()) < len(untrained.x)


def test_autoencoders_train_on_the_strings_that_the_transformer_saw() -> None:
    task, strings = Task(), Task().strings()
    seen = repeats.material("untrained", 1).seen
    recipe = training.SOLVING.model_copy(update={"seed": 1})
    assert [strings[i] for i in seen.tolist()] == training.make_split(task, recipe).train


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(ValueError, match="'dreamt'; it can be 'trained', 'untrained'"):
        repeats.material("dreamt", 0)


def test_latents_are_named_by_exact_rules_at_half_their_maximum() -> None:
    ids = letters(TINY, TOKENS)
    first_a, second_b = ids[:, 0] == 2, ids[:, 1] == 3
    weak = 0.4 * (~first_a).double()
    latents = torch.stack(
        [
            first_a + weak,  # exact at half the maximum, though it is never silent
            2 * first_a,  # the same pair once more
            (first_a & second_b).double(),  # a single string
            (first_a | second_b).double(),  # no conjunction
            torch.zeros(16, dtype=torch.float64),  # dead
        ],
        dim=1,
    )
    named = repeats.named_pairs(TINY, TOKENS, latents)
    assert list(named.rules) == [0, 1, 2, 3]
    assert named.pairs == {"a·"}
    assert named.named == 2


def test_cases_are_different_and_cover_what_the_book_claims() -> None:
    cases = repeats.cases()
    assert len(cases) == len(set(cases))
    trained = {case for case in cases if case.source == "trained"}
    assert trained == {Case("trained", t, s) for t in range(5) for s in range(3)}
    for source in ("untrained", "shuffled"):
        assert {c.transformer for c in cases if c.source == source} == {0, 1, 2, 3, 4}


def test_the_shipped_table_holds_these_cases_in_their_order() -> None:
    assert list(repeats.read()) == repeats.cases()
