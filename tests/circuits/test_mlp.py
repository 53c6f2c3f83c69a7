"""The MLP's neurons against the running model, and a layer whose minimal sets are known."""

import itertools

import pytest
import torch
from handbuilt import HandBuilt
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits import mlp, subsets
from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.circuits.tables import tabulate
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
STRINGS = encode(TINY, TINY.strings())


def running(model: TransformerBridge, query: int, gone: list[int]) -> Tensor:
    """Logits of the running model in which some neurons write their mean."""
    hook = "blocks.0.mlp.hook_post"

    def edit(value: Tensor, hook: object) -> Tensor:
        changed = value.clone()
        changed[:, :, gone] = value[:, :, gone].mean(dim=0)
        return changed

    with torch.no_grad(), model.hooks(fwd_hooks=[(hook, edit)]):
        return model(inputs(STRINGS))[:, query]


@pytest.mark.parametrize("query", TINY.mirrored_positions)
@pytest.mark.parametrize("gone", [[], [0], [3, 17, 60], list(range(64))])
def test_a_neuron_taken_away_writes_its_mean(
    random: TransformerBridge, query: int, gone: list[int]
) -> None:
    place = mlp.site(subject(TINY, random), query)
    kept = torch.ones(64, dtype=torch.bool)
    kept[gone] = False
    logits, wanted = running(random, query, gone), STRINGS[:, query + 1]
    said = mlp.answers(random, place, kept)
    assert torch.equal(said.right, logits.argmax(dim=1) == wanted)
    loss = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    torch.testing.assert_close(said.loss, loss, rtol=0, atol=1e-10)
    own = logits.gather(1, wanted[:, None])[:, 0]
    others = logits.scatter(1, wanted[:, None], -torch.inf).amax(dim=1)
    torch.testing.assert_close(said.margin, own - others, rtol=0, atol=1e-10)


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_the_mirror_stream_is_the_circuit_of_mirror_key_and_mlp(
    random: TransformerBridge, query: int
) -> None:
    table = tabulate(random)
    circuits = subsets.enumerate_circuits(Subject(TINY, random, table, STRINGS), query)
    names = [f"key {TINY.mirror_position(query)}", "mlp"]
    circuit = sum(1 << circuits.nodes.index(name) for name in names)
    place = mlp.site(Subject(TINY, random, table, STRINGS), query, "mirror")
    whole = mlp.answers(random, place, torch.ones(64, dtype=torch.bool))
    assert whole.loss.mean().item() == pytest.approx(float(circuits.loss[circuit]), abs=1e-10)
    none = mlp.answers(random, place, torch.zeros(64, dtype=torch.bool))
    without = circuit & ~(1 << circuits.nodes.index("mlp"))
    assert none.loss.mean().item() == pytest.approx(float(circuits.loss[without]), abs=1e-10)


def linear_site(n_strings: int = 40) -> mlp.Site:
    """A site whose MLP is affine where it is read, and nothing more."""
    generator = torch.Generator().manual_seed(0)
    read = torch.randn(n_strings, 16, generator=generator, dtype=torch.float64)
    matrix = torch.randn(16, 16, generator=generator, dtype=torch.float64)
    moved = read - read.mean(dim=0)
    return mlp.Site(
        read,
        torch.zeros(n_strings, 16, dtype=torch.float64),
        moved,
        matrix,
        read.mean(dim=0),
        torch.zeros(n_strings, dtype=torch.int64),
        query=3,
    )


def test_an_affine_layer_is_fitted_without_remainder(random: TransformerBridge) -> None:
    place = linear_site()
    fit = mlp.affine(random, [place])
    assert fit.explained == pytest.approx(1, abs=1e-12)
    whole = mlp.answers(random, place, torch.ones(16, dtype=torch.bool))
    torch.testing.assert_close(fit.answers.loss, whole.loss, rtol=0, atol=1e-9)
    bent = place._replace(moved=place.moved.abs())
    assert mlp.affine(random, [bent]).explained < 0.9


def test_a_shared_map_is_no_better_than_a_map_for_each(random: TransformerBridge) -> None:
    places = mlp.sites(subject(TINY, random))
    each = [mlp.affine(random, [place]) for place in places]
    own, shared = mlp.affine(random, places), mlp.affine(random, places, shared=True)
    assert own.explained == pytest.approx(sum(fit.explained for fit in each) / len(each))
    losses = torch.cat([fit.answers.loss for fit in each])
    torch.testing.assert_close(own.answers.loss, losses)
    assert len(shared.answers.right) == len(places) * len(STRINGS)
    assert shared.explained <= max(fit.explained for fit in each) + 1e-9
    assert not torch.allclose(shared.answers.loss, own.answers.loss)


def test_all_answers_are_those_at_each_query(random: TransformerBridge) -> None:
    places, kept = mlp.sites(subject(TINY, random), "mirror"), torch.arange(64) % 2 == 0
    assert [place.query for place in places] == list(TINY.mirrored_positions)
    together = mlp.all_answers(random, places, kept)
    first, second = (
        mlp.answers(random, mlp.site(subject(TINY, random), q, "mirror"), kept)
        for q in TINY.mirrored_positions
    )
    assert torch.equal(together.margin, torch.cat([first.margin, second.margin]))
    n_right = int(first.right.sum() + second.right.sum())
    assert together.share_right == pytest.approx(n_right / 2 / len(STRINGS))


@pytest.mark.parametrize("query", TINY.mirrored_positions)
def test_dealt_letters_are_written_for_others(random: TransformerBridge, query: int) -> None:
    place = mlp.site(subject(TINY, random), query)
    order = [2, 0, 3, 1]
    swapped = mlp.dealt(TINY, place, order)
    letters_of = dict(zip(TINY.alphabet, (TINY.alphabet[i] for i in order), strict=True))
    strings = TINY.strings()
    for i, text in enumerate(strings):
        half = list(text[1:3])
        half[TINY.slot_of(query)] = letters_of[half[TINY.slot_of(query)]]
        other = strings.index(TINY.string("".join(half)))
        assert torch.equal(swapped.rest[i], place.rest[other])
        assert torch.equal(swapped.moved[i], place.moved[other])
        assert swapped.wanted[i] == place.wanted[other]
    assert torch.equal(swapped.read, place.read)
    same = mlp.dealt(TINY, place, range(4))
    assert all(torch.equal(a, b) for a, b in zip(same[:-1], place[:-1], strict=True))


def test_a_support_counts_the_strings_with_a_letter(random: TransformerBridge) -> None:
    query = TINY.mirrored_positions[1]
    place = mlp.site(subject(TINY, random), query)
    shares = mlp.support(subject(TINY, random), place).shares
    post = random.run_with_cache(inputs(STRINGS))[1]["blocks.0.mlp.hook_post"][:, query]
    for i, letter in enumerate(TINY.alphabet):
        rows = [n for n, text in enumerate(TINY.strings()) if text[query + 1] == letter]
        assert shares[i].tolist() == (post[rows] > 0).double().mean(dim=0).tolist()


def test_what_a_support_says_of_a_neuron() -> None:
    # By neuron: never on; on for one letter; on for two; also switched by something else.
    shares = torch.tensor([[0.0, 1, 1, 1], [0, 0, 1, 0.5]])
    support = mlp.Support(shares)
    assert support.ever_on.tolist() == [False, True, True, True]
    assert support.decided.tolist() == [False, True, True, False]


def test_neurons_serve_the_letters_that_a_loop_finds(random: TransformerBridge) -> None:
    query = TINY.mirrored_positions[0]
    place = mlp.site(subject(TINY, random), query)
    shares = mlp.support(subject(TINY, random), place).shares
    ids = sorted({int(token) for token in STRINGS[:, 1]})
    with torch.no_grad():
        centred = place.writes - place.writes.mean(dim=1, keepdim=True)
        logits = random.unembed(centred * random.ln_final.weight)[:, ids] - random.unembed.bias[ids]
    wanted = []
    for shift in range(64):
        served = [
            bool(shares[int(logits[(neuron - shift) % 64].argmax()), neuron] == 1)
            for neuron in range(64)
            if (shares[:, neuron] == 1).any()
        ]
        wanted.append(sum(served) / len(served))
    assert mlp.serving(subject(TINY, random), place) == pytest.approx(wanted)
    assert len(set(wanted)) > 2


def test_what_known_sets_share() -> None:
    sets = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 0]]).bool()
    assert mlp.overlap(sets)[:4] == ([2, 2, 3], [1, 2, 2], 1, 3)
    assert mlp.overlap(sets).by_luck == pytest.approx(4 * 2 / 4 * 2 / 4 * 3 / 4)


def known_sites(model: TransformerBridge, needs: list[list[int]], n: int) -> list[mlp.Site]:
    """Strings that are right while any neuron of each group in ``needs`` is kept.

    A kept neuron adds along one direction; without any of its group a string falls short.
    """
    with torch.no_grad():
        matrix = model.unembed.weight * model.ln_final.weight
    wanted, rival = 2, 3
    along = (matrix[wanted] - matrix[rival]).detach()
    along = along - along.mean()
    target = matrix.detach()[wanted] - matrix.detach().mean(dim=0)
    target = 30 * (target - target.mean())
    moved = torch.zeros(len(needs), n, dtype=torch.float64)
    for string, group in enumerate(needs):
        moved[string, group] = 1.0
    rest = -target.expand(len(needs), -1).clone()
    writes = 2 * target.expand(n, -1).clone()
    ids = torch.full((len(needs),), wanted)
    return [mlp.Site(rest, rest, moved, writes, torch.zeros(n), ids, query=3)]


def sufficient(needs: list[list[int]], kept: set[int]) -> bool:
    return all(kept & set(group) for group in needs)


NEEDS = [[0, 1], [1, 2, 3], [4], [0, 5]]


def test_minimal_sets_are_all_minimal_hitting_sets(handbuilt: HandBuilt) -> None:
    places = known_sites(handbuilt.model, NEEDS, 6)
    subsets_of_6 = [set(c) for r in range(7) for c in itertools.combinations(range(6), r)]
    hitting = [s for s in subsets_of_6 if sufficient(NEEDS, s)]
    smallest = [s for s in hitting if not any(other < s for other in hitting)]
    listed = [set(s.nonzero()[:, 0].tolist()) for s in mlp.minimal_sets(handbuilt.model, places)]
    assert sorted(map(sorted, listed)) == sorted(map(sorted, smallest))
    assert len(listed) > 2


@pytest.mark.parametrize("order", [range(6), range(5, -1, -1), [3, 0, 4, 1, 5, 2]])
def test_what_is_left_suffices_and_nothing_of_it_can_go(
    handbuilt: HandBuilt, order: list[int]
) -> None:
    places = known_sites(handbuilt.model, NEEDS, 6)
    kept = set(mlp.reduced(handbuilt.model, places, order).nonzero()[:, 0].tolist())
    assert sufficient(NEEDS, kept)
    assert not any(sufficient(NEEDS, kept - {neuron}) for neuron in kept)


def test_a_model_that_errs_is_reduced_on_what_it_has_right(handbuilt: HandBuilt) -> None:
    places = known_sites(handbuilt.model, [*NEEDS, []], 6)
    without = known_sites(handbuilt.model, NEEDS, 6)
    kept = mlp.reduced(handbuilt.model, places, range(6))
    assert kept.tolist() == mlp.reduced(handbuilt.model, without, range(6)).tolist()
    assert not kept.all()
    assert mlp.minimal_sets(handbuilt.model, places).tolist() == []


def test_too_many_neurons_are_not_enumerated(handbuilt: HandBuilt) -> None:
    places = known_sites(handbuilt.model, NEEDS, 17)
    with pytest.raises(ValueError, match="There are 17 neurons"):
        mlp.minimal_sets(handbuilt.model, places)


def test_answers_lost_are_those_that_a_loop_finds(handbuilt: HandBuilt) -> None:
    places = known_sites(handbuilt.model, NEEDS, 6)
    groups = [list(c) for r in (1, 2, 3) for c in itertools.combinations(range(6), r)]
    lost = mlp.lost_without(handbuilt.model, places, groups)
    for group, count in zip(groups, lost.tolist(), strict=True):
        left = set(range(6)) - set(group)
        assert count == sum(not left & set(need) for need in NEEDS)
    assert int(lost.max()) > 1


def test_the_bound_on_what_a_neuron_costs_holds(random: TransformerBridge) -> None:
    """On a model of noise: a string that a loop finds lost is never left out by the bound."""
    query = TINY.mirrored_positions[0]
    place = mlp.site(subject(TINY, random), query)
    every = torch.ones(64, dtype=torch.bool)
    place = place._replace(wanted=running(random, query, []).argmax(dim=1))
    assert mlp.answers(random, place, every).right.all()
    for group in ([5], [9, 20], list(range(30)), list(range(64))):
        kept = every.clone()
        kept[group] = False
        wrong = int((~mlp.answers(random, place, kept).right).sum())
        assert int(mlp.lost_without(random, [place], [group])[0]) == wrong
    assert wrong > 0


def test_random_sets_keep_between_none_and_all(handbuilt: HandBuilt) -> None:
    places = known_sites(handbuilt.model, NEEDS, 6)
    assert mlp.kept_right(handbuilt.model, places, 6, draws=2).tolist() == [1, 1]
    assert mlp.kept_right(handbuilt.model, places, 0, draws=2).tolist() == [0, 0]
    some = mlp.kept_right(handbuilt.model, places, 3, draws=20)
    assert len(some.unique()) > 1
    assert torch.equal(some, mlp.kept_right(handbuilt.model, places, 3, draws=20))
