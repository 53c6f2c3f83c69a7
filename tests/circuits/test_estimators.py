"""Estimators of the value at the mirror, against autograd and edits of the running model."""

import functools
from collections.abc import Callable

import pytest
import torch
from handbuilt import HandBuilt, random_model
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits import attribution, estimators, lines
from palindrome_lens.circuits.subject import Subject, subject
from palindrome_lens.circuits.tables import tabulate
from palindrome_lens.model import ModelConfig, hooked, init_model
from palindrome_lens.task import Task, inputs
from palindrome_lens.tokenizer import encode

TINY = Task(alphabet="abcd", half_length=2)
STRINGS = encode(TINY, TINY.strings())
LETTERS = [2, 3, 4, 5]
QUERIES = list(TINY.mirrored_positions)
SOME = (1, 6, 14)
POINTS = (0.25, 0.5, 0.75)


@functools.cache
def model_of(normalization: str | None) -> TransformerBridge:
    return random_model(TINY, normalization)


def read(normalization: str | None, query: int) -> lines.MirrorValue:
    model = model_of(normalization)
    return lines.mirror_value(subject(TINY, model), query)


@functools.cache
def cached(normalization: str | None, string: int) -> dict[str, Tensor]:
    model = model_of(normalization)
    with torch.no_grad():
        _, cache = model.run_with_cache(inputs(STRINGS[[string]]))
    return {name.removeprefix("blocks.0."): cache[name][0] for name in cache}


def swapped(normalization: str | None, own: int, donor: int, query: int) -> Tensor:
    """What the mirror value changes by when it is read from another string, weights held."""
    first, second = cached(normalization, own), cached(normalization, donor)
    mirror = TINY.mirror_position(query)
    weights = first["attn.hook_pattern"][:, query, mirror]
    change = (second["attn.hook_v"] - first["attn.hook_v"]).reshape(-1, 2, 5)[mirror]
    attention = model_of(normalization).blocks[0].attn
    with torch.no_grad():
        written: Tensor = attention.o((weights[:, None] * change).flatten()) - attention.o.bias
    return written


def lead_of(normalization: str | None, own: int, query: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The lead of a string as a function of the stream past the MLP and of that through it."""
    model, wanted = model_of(normalization), int(STRINGS[own, query + 1])
    others = [letter for letter in LETTERS if letter != wanted]

    def lead(past: Tensor, through: Tensor) -> Tensor:
        block = model.blocks[0]
        logits = model.unembed(model.ln_final(past + block.mlp(block.ln2(through))))
        return logits[wanted] - logits[others].mean()

    return lead


def stream(normalization: str | None, own: int, query: int) -> Tensor:
    return cached(normalization, own)["hook_resid_mid"][query]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("normalization", ["LN", None])
def test_the_line_agrees_with_autograd(normalization: str | None, query: int) -> None:
    line = lines.walk(model_of(normalization), read(normalization, query), POINTS)
    assert line.points.tolist() == [0.0, *POINTS, 1.0]
    for own in SOME:
        lead, middle = lead_of(normalization, own, query), stream(normalization, own, query)
        for i, point in enumerate(line.points.tolist()):
            wanted = []
            for donor in range(16):
                step = -swapped(normalization, own, donor, query)
                place = middle - (1 - point) * step
                past, through = (place.clone().requires_grad_() for _ in range(2))
                value = lead(past, through)
                slopes = torch.autograd.grad(value, (past, through))
                wanted.append([float(value.detach()), *(float(slope @ step) for slope in slopes)])
            value, past_slope, through_slope = torch.tensor(wanted, dtype=torch.float64).mean(0)
            torch.testing.assert_close(line.lead[i, own], value)
            torch.testing.assert_close(line.past[i, own], past_slope)
            torch.testing.assert_close(line.through[i, own], through_slope)
    mean = line.through[[0, 4]].mean(dim=0) + line.past[[0, 4]].mean(dim=0)
    torch.testing.assert_close(line.slope(0.0, 1.0), mean)
    inner = line.through[[1, 3]].mean(dim=0)
    torch.testing.assert_close(line.slope(0.25, 0.75, path="through"), inner)


def test_pairs_in_which_a_slope_has_the_wrong_sign() -> None:
    query = QUERIES[0]
    line = lines.walk(model_of("LN"), read("LN", query))
    wrong = [0, 0]
    mirror = TINY.mirror_position(query)
    for own in range(16):
        lead, middle = lead_of("LN", own, query), stream("LN", own, query)
        seen = set()
        for donor in range(16):
            letter = int(STRINGS[donor, mirror])
            if letter in seen or letter == int(STRINGS[own, mirror]):
                continue
            seen.add(letter)
            step = -swapped("LN", own, donor, query)
            with torch.no_grad():
                lost = float(lead(middle, middle) - lead(middle - step, middle - step))
            for i, point in enumerate((0.0, 1.0)):
                place = (middle - (1 - point) * step).requires_grad_()
                (slope,) = torch.autograd.grad(lead(place, place), place)
                wrong[i] += float(slope @ step) * lost < 0
    assert line.wrong.tolist() == [count / (16 * 3) for count in wrong]
    assert min(wrong) > 0


@pytest.mark.parametrize("query", QUERIES)
def test_slopes_add_up_to_what_is_gained(query: int) -> None:
    points = lines.midpoints(64)
    line = lines.walk(model_of("LN"), read("LN", query), points)
    torch.testing.assert_close(line.slope(*points), line.rise, rtol=0.02, atol=0.02)
    torch.testing.assert_close(line.trapezoidal(), line.rise, rtol=0.02, atol=0.02)


def test_the_trapezoidal_rule_weighs_points_by_the_gaps_beside_them() -> None:
    line = lines.walk(model_of("LN"), read("LN", QUERIES[0]), [0.25, 0.5])
    weights = torch.tensor([1, 2, 3, 2], dtype=torch.float64) / 8
    torch.testing.assert_close(line.trapezoidal(), weights @ (line.through + line.past))


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("normalization", ["LN", None])
def test_paths_are_swapped_one_at_a_time(normalization: str | None, query: int) -> None:
    lost = estimators.paths(model_of(normalization), read(normalization, query))
    for own in SOME:
        lead, middle = lead_of(normalization, own, query), stream(normalization, own, query)
        others = [middle + swapped(normalization, own, donor, query) for donor in range(16)]
        with torch.no_grad():
            whole = lead(middle, middle)
            through = torch.stack([whole - lead(middle, other) for other in others]).mean()
            past = torch.stack([whole - lead(other, middle) for other in others]).mean()
        torch.testing.assert_close(lost["through"][own], through)
        torch.testing.assert_close(lost["past"][own], past)


def test_without_layer_norm_the_path_past_the_mlp_is_linear() -> None:
    value = read(None, QUERIES[0])
    line = lines.walk(model_of(None), value, POINTS)
    lost = estimators.paths(model_of(None), value)["past"]
    torch.testing.assert_close(line.past, lost.expand(5, -1))


@pytest.mark.parametrize("query", QUERIES)
def test_the_bench_agrees_with_the_audit(query: int) -> None:
    result = estimators.measure(subject(TINY, model_of("LN")), query)
    audited = attribution.audit(subject(TINY, model_of("LN")), query, "mirror")
    torch.testing.assert_close(result.truth, audited.resample)
    for mine, name in (("zero", "zero"), ("mean", "mean"), ("own end", "gradient"), ("dla", "dla")):
        torch.testing.assert_close(result.estimates[mine], getattr(audited, name))


def test_each_estimate_is_what_its_name_says() -> None:
    model, query = model_of("LN"), QUERIES[0]
    result = estimators.measure(subject(TINY, model), query, POINTS)
    assert set(result.estimates) == set(estimators.ESTIMATORS)
    ends = (result.estimates["own end"] + result.estimates["donor end"]) / 2
    torch.testing.assert_close(result.estimates["both ends"], ends)
    line = result.line
    torch.testing.assert_close(result.estimates["one point"], line.through[2] + line.past[2])
    inner = (line.through + line.past)[[1, 3]].mean(dim=0)
    torch.testing.assert_close(result.estimates["two points"], inner)
    apart = line.through[-1].abs() + line.past[-1].abs()
    torch.testing.assert_close(result.estimates["paths apart"], apart)
    assert not torch.allclose(result.estimates["mean donor"], result.estimates["donor end"])
    assert "one point" not in estimators.measure(subject(TINY, model), query).estimates
    value = read("LN", query)
    for name, scales in estimators.HELD.items():
        gradient = estimators.held_gradient(model, value, scales)
        torch.testing.assert_close(result.held[name], gradient)
    torch.testing.assert_close(result.reached, estimators.reached(model, value))
    at_own = estimators.last_scale(model, value.rest + value.own)
    at_mean = estimators.last_scale(model, value.rest + value.donors.mean(dim=1))
    assert result.shrunk == pytest.approx(float(at_mean.sum() / at_own.sum()))


def test_the_gradient_at_the_mean_donor() -> None:
    query = QUERIES[0]
    at_mean = lines.walk(model_of("LN"), read("LN", query).mean_donor)
    for own in SOME:
        lead, middle = lead_of("LN", own, query), stream("LN", own, query)
        step = -torch.stack([swapped("LN", own, donor, query) for donor in range(16)]).mean(dim=0)
        place = (middle - step).requires_grad_()
        (slope,) = torch.autograd.grad(lead(place, place), place)
        torch.testing.assert_close(at_mean.slope(0.0)[own], slope @ step)


def test_nothing_is_lost_through_the_mlp_of_the_handbuilt_model(handbuilt: HandBuilt) -> None:
    tables = tabulate(handbuilt.model)
    for query in QUERIES:
        result = estimators.measure(Subject(TINY, handbuilt.model, tables, STRINGS), query)
        assert float(result.truth.min()) > 1
        assert float(result.paths["through"].abs().max()) < 1e-3
        torch.testing.assert_close(result.paths["past"], result.truth, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("held", [(), ("ln2",), ("ln_final",), ("ln2", "ln_final")])
@pytest.mark.parametrize("query", QUERIES)
def test_the_held_gradient_is_a_finite_difference_with_scales_of_the_running_model(
    query: int, held: tuple[str, ...]
) -> None:
    model = model_of("LN")
    estimate = estimators.held_gradient(model, read("LN", query), held)
    block = model.blocks[0]

    def normed(name: str, value: Tensor, own: int) -> Tensor:
        norm = model.ln_final if name == "ln_final" else block.ln2
        if name not in held:
            result: Tensor = norm(value)
            return result
        scale = cached("LN", own)[f"{name}.hook_scale"][query]
        return (value - value.mean()) / scale * norm.weight + norm.bias

    def lead_at(own: int, change: Tensor) -> Tensor:
        wanted = int(STRINGS[own, query + 1])
        with torch.no_grad():
            middle = stream("LN", own, query) + change
            end = normed("ln_final", middle + block.mlp(normed("ln2", middle, own)), own)
            logits = model.unembed(end)
            return logits[wanted] - logits[[x for x in LETTERS if x != wanted]].mean()

    for own in SOME:
        away = torch.stack([swapped("LN", own, donor, query) for donor in range(16)]).mean(dim=0)
        slope = (lead_at(own, 1e-5 * away) - lead_at(own, -1e-5 * away)) / 2e-5
        assert float(estimate[own]) == pytest.approx(-float(slope), abs=1e-6)


def test_with_no_scale_held_the_gradient_is_the_slope_at_the_own_end() -> None:
    value = read("LN", QUERIES[0])
    slope = lines.walk(model_of("LN"), value).slope(1.0)
    torch.testing.assert_close(estimators.held_gradient(model_of("LN"), value, ()), slope)


def test_no_stream_leads_by_more_than_the_largest_lead() -> None:
    model, query = model_of("LN"), QUERIES[0]
    value = read("LN", query)
    share = estimators.reached(model, value)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        best = model.ln_final(1e3 * (value.along * model.ln_final.weight))
        largest = (best * value.along).sum(dim=-1) + value.offset
        drawn = torch.randn(500, 1, 16, dtype=torch.float64, generator=generator)
        tried = (model.ln_final(drawn) * value.along).sum(dim=-1) + value.offset
    assert bool((tried < largest).all())
    for own in SOME:
        with torch.no_grad():
            lead = lead_of("LN", own, query)(*[stream("LN", own, query)] * 2)
        torch.testing.assert_close(share[own], lead / largest[own])


def test_what_the_last_layer_norm_divides_by() -> None:
    value = read("LN", QUERIES[0])
    scales = estimators.last_scale(model_of("LN"), value.rest + value.own)
    for own in SOME:
        scale = cached("LN", own)["ln_final.hook_scale"][QUERIES[0]]
        torch.testing.assert_close(scales[[own]], scale)


def test_a_verdict() -> None:
    truth = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    verdict = estimators.judge(torch.tensor([-2.0, 0.0, 1.0, 6.0], dtype=torch.float64), truth)
    assert (verdict.wrong, verdict.mean) == (0.5, 0.5)
    assert verdict.rank == pytest.approx(1.0)
    reverse = estimators.judge(-truth, truth)
    assert (reverse.wrong, reverse.mean) == (1.0, -1.0)
    assert reverse.rank == pytest.approx(-1.0)
    both = estimators.judged([(truth, truth), (-truth, truth)])
    assert (both.wrong, both.mean) == ([0.0, 1.0], [1.0, -1.0])
    assert both.rank == pytest.approx([1.0, -1.0])


def test_midpoints() -> None:
    assert lines.midpoints(1) == [0.5]
    assert lines.midpoints(4) == [0.125, 0.375, 0.625, 0.875]


def test_what_cannot_be_measured() -> None:
    value = read("LN", QUERIES[0])
    with pytest.raises(ValueError, match="ln1 cannot be held; ln2, ln_final can"):
        estimators.held_gradient(model_of("LN"), value, ["ln1", "ln2"])
    for refused in (
        lambda: estimators.held_gradient(model_of(None), value, ["ln2"]),
        lambda: estimators.reached(model_of(None), value),
    ):
        with pytest.raises(ValueError, match="has no LayerNorm"):
            refused()
    config = ModelConfig(act_fn="gelu")
    smooth = hooked(init_model(config, TINY), config, TINY)
    with pytest.raises(ValueError, match="written out for ReLU; this MLP has gelu"):
        lines.walk(smooth, value)
    with pytest.raises(ValueError, match="not in list"):
        lines.walk(model_of("LN"), value).slope(0.3)
