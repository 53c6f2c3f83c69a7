"""The MLP opened: what its neurons read and write at a query, and which of them suffice.

A neuron that is taken away writes its mean over all strings. Whether an answer survives is asked
of the model itself, on every string: sets of neurons are never scored by a sum of effects.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import handed_over, margin, neurons, normalized, unembedded
from palindrome_lens.task import Task, inputs, letters, targets

ENUMERABLE = 16
"""Neurons of which every subset is tried: 65,536 sets."""
REMEMBERED = 8
"""Strings kept of those that a set of neurons gets wrong, to refuse the next sets sooner."""

Stream = Literal["whole", "mirror"]


class Site(NamedTuple):
    """The MLP at one query, on every string."""

    read: Float[Tensor, "strings d_model"]
    """What the neurons read, behind the LayerNorm."""
    rest: Float[Tensor, "strings d_model"]
    """The residual stream behind the MLP with every neuron at its mean."""
    moved: Float[Tensor, "strings neuron"]
    """Each neuron's activation less its mean; what a kept neuron adds to ``rest`` is this times
    its row of ``writes``."""
    writes: Float[Tensor, "neuron d_model"]
    mean: Float[Tensor, "neuron"]
    """Of the activations, over all strings, in the whole model."""
    wanted: Int64[Tensor, "strings"]
    """The token to be answered."""
    query: int


class Answers(NamedTuple):
    """What the model answers, on every string: at one query, or at several one after another."""

    right: Bool[Tensor, "cases"]
    margin: Float[Tensor, "cases"]
    """The wanted token's logit minus the best other, in nats."""
    loss: Float[Tensor, "cases"]
    """Cross-entropy in nats."""

    @property
    def share_right(self) -> float:
        return float(self.right.double().mean())


class Affine(NamedTuple):
    """An affine map in place of the MLP, at one or several queries."""

    explained: float
    """Share of the variance of the MLP's output; with several maps, the mean of their shares."""
    answers: Answers


class Support(NamedTuple):
    """On which share of the strings with a mirrored letter each neuron is above 0."""

    shares: Float[Tensor, "letter neuron"]

    @property
    def ever_on(self) -> Bool[Tensor, "neuron"]:
        return (self.shares > 0).any(dim=0)

    @property
    def decided(self) -> Bool[Tensor, "neuron"]:
        """The neurons that are ever on and that the mirrored letter alone switches."""
        return self.ever_on & ((self.shares == 0) | (self.shares == 1)).all(dim=0)


class Overlap(NamedTuple):
    """What sets of neurons have in common, as numbers of neurons."""

    sizes: list[int]
    in_two: list[int]
    """For each pair of sets."""
    in_all: int
    in_any: int
    by_luck: float
    """Neurons to be expected in all, had sets of these sizes been drawn at random."""


def site(subject: Subject, query: int, stream: Stream = "whole") -> Site:
    """The MLP at a query of a model with one layer.

    Args:
        stream: "whole" is the model's residual stream. With "mirror" only what the key at the
            mirror position hands over is the string's own, and all else is its mean, as in a
            circuit of :mod:`~palindrome_lens.circuits.subsets`.

    Raises:
        ValueError: the query predicts no mirrored letter.
    """
    task, model, tables, tokens = subject
    mirror, read = task.mirror_position(query), inputs(tokens)
    direct = tables.embedded[query, read[:, query]]
    by_key = handed_over(tables, read, query).sum(dim=1)
    whole = direct + by_key.sum(dim=1) + tables.bias
    middle = whole
    if stream == "mirror":
        middle = whole.mean(dim=0) + by_key[:, mirror] - by_key[:, mirror].mean(dim=0)
    block = model.blocks[0]
    with torch.no_grad():
        mean = neurons(model, whole).mean(dim=0)
        # (neuron, d_model)
        writes = block.mlp.out.weight.detach().T
        rest = middle + mean @ writes + block.mlp.out.bias
        moved = neurons(model, middle) - mean
        normed = normalized(model, block.ln2, middle)
    return Site(normed, rest, moved, writes, mean, targets(tokens)[:, query], query)


def sites(subject: Subject, stream: Stream = "whole") -> list[Site]:
    """:func:`site` at each query that predicts a mirrored letter."""
    return [site(subject, query, stream) for query in subject.queries]


def answers(model: TransformerBridge, site: Site, kept: Bool[Tensor, "neuron"]) -> Answers:
    """What is answered when the neurons that are not kept write their mean."""
    return _answers(model, _stream(site, kept), site.wanted)


def all_answers(
    model: TransformerBridge, sites: Sequence[Site], kept: Bool[Tensor, "neuron"]
) -> Answers:
    """:func:`answers` at each of the sites, one after another."""
    return _joined(answers(model, place, kept) for place in sites)


def _joined(by_site: Iterable[Answers]) -> Answers:
    return Answers(*map(torch.cat, zip(*by_site, strict=True)))


def _stream(site: Site, kept: Bool[Tensor, "neuron"]) -> Float[Tensor, "strings d_model"]:
    return torch.addmm(site.rest, site.moved[:, kept], site.writes[kept])


def _right(
    model: TransformerBridge, resid: Float[Tensor, "strings d_model"], wanted: Tensor
) -> Bool[Tensor, "strings"]:
    """What :func:`answers` says of being right, without the cost of margins and losses."""
    with torch.no_grad():
        return unembedded(model, resid).argmax(dim=1) == wanted


def _answers(model: TransformerBridge, resid: Tensor, wanted: Tensor) -> Answers:
    with torch.no_grad():
        logits = unembedded(model, resid)
    loss = F.cross_entropy(logits, wanted, reduction="none")
    return Answers(logits.argmax(dim=1) == wanted, margin(logits, wanted), loss)


def affine(model: TransformerBridge, sites: Sequence[Site], shared: bool = False) -> Affine:
    """The affine map of what the MLP reads that comes closest to what it writes (least squares).

    Args:
        shared: one map for all sites, in place of a map for each.
    """
    if not shared and len(sites) > 1:
        fits = [affine(model, [place]) for place in sites]
        explained = sum(fit.explained for fit in fits) / len(fits)
        return Affine(explained, _joined(fit.answers for fit in fits))
    read = torch.cat([F.pad(place.read, (0, 1), value=1.0) for place in sites])
    written = torch.cat([place.moved @ place.writes + place.mean @ place.writes for place in sites])
    fitted = read @ torch.linalg.lstsq(read, written).solution
    unexplained = (written - fitted).square().sum()
    explained = float(1 - unexplained / (written - written.mean(dim=0)).square().sum())
    # What stays of the stream when the MLP writes nothing.
    without = torch.cat([place.rest - place.mean @ place.writes for place in sites])
    wanted = torch.cat([place.wanted for place in sites])
    return Affine(explained, _answers(model, without + fitted, wanted))


def dealt(task: Task, site: Site, order: Sequence[int]) -> Site:
    """The task of a translator without sense: what is read belongs to a string, what is written
    and wanted to the string in which another letter stands in the place of the mirrored one.

    Args:
        order: for each letter of the alphabet the place of the letter that is written for it.
    """
    base = len(task.alphabet)
    place = base ** (task.half_length - 1 - task.slot_of(site.query))
    strings = torch.arange(task.size)
    letter = strings // place % base
    other = strings + (torch.tensor(order)[letter] - letter) * place
    return site._replace(rest=site.rest[other], moved=site.moved[other], wanted=site.wanted[other])


def support(subject: Subject, site: Site) -> Support:
    """On which mirrored letters each neuron is on."""
    task, slot = subject.task, subject.task.slot_of(site.query)
    _, letter = letters(task, subject.tokens)[:, slot].unique(return_inverse=True)
    is_on = (site.moved + site.mean > 0).double()
    total = is_on.new_zeros(len(task.alphabet), is_on.shape[1]).index_add(0, letter, is_on)
    return Support(total / torch.bincount(letter).unsqueeze(1))


def serving(subject: Subject, site: Site) -> list[float]:
    """Whether neurons raise most the logit of a letter that switches them on.

    Returns:
        The share of the neurons that do, of those that are on for all strings with some letter;
        first with each neuron's own row of ``writes``, then with the rows moved on from neuron to
        neuron, in all ways. Rows are read behind the last LayerNorm's weights.
    """
    model, letter_ids = subject.model, letters(subject.task, subject.tokens).unique()
    centred = site.writes - site.writes.mean(dim=1, keepdim=True)
    logits = centred * model.ln_final.weight.detach() @ model.unembed.weight.detach()[letter_ids].T
    # (neuron,): the place in the alphabet of the letter whose logit each neuron raises most
    raised = logits.argmax(dim=1)
    is_on = support(subject, site).shares == 1
    used = is_on.any(dim=0).nonzero()[:, 0]
    moved_on = [raised.roll(shift)[used] for shift in range(len(raised))]
    return [float(is_on[letter, used].double().mean()) for letter in moved_on]


def reduced(
    model: TransformerBridge, sites: Sequence[Site], order: Iterable[int]
) -> Bool[Tensor, "neuron"]:
    """The neurons that are left when each in turn is taken away unless an answer is then lost.

    All answers at all sites that are right with all neurons stay right; what is wrong then does not
    count. The set is one of many: it depends on the order.
    """
    kept = torch.ones(sites[0].moved.shape[1], dtype=torch.bool)
    hard = [torch.empty(0, dtype=torch.int64) for _ in sites]
    if not _all_right(model, sites, kept, hard):
        sites = [
            _rows(place, _right(model, _stream(place, kept), place.wanted).nonzero()[:, 0])
            for place in sites
        ]
        hard = [torch.empty(0, dtype=torch.int64) for _ in sites]
    for neuron in order:
        kept[neuron] = False
        kept[neuron] = not _all_right(model, sites, kept, hard)
    return kept


def overlap(sets: Bool[Tensor, "set neuron"]) -> Overlap:
    """How many neurons sets share."""
    return Overlap(
        sets.sum(dim=1).tolist(),
        [int((first & second).sum()) for first, second in combinations(sets, 2)],
        int(sets.all(dim=0).sum()),
        int(sets.any(dim=0).sum()),
        sets.shape[1] * float(sets.double().mean(dim=1).prod()),
    )


def _all_right(
    model: TransformerBridge,
    sites: Sequence[Site],
    kept: Bool[Tensor, "neuron"],
    hard: list[Int64[Tensor, "row"]],
) -> bool:
    """Whether all answers are right; ``hard`` holds, and gathers, strings that were not."""
    for place, rows in zip(sites, hard, strict=True):
        hardest = _rows(place, rows)
        if not bool(_right(model, _stream(hardest, kept), hardest.wanted).all()):
            return False
    for i, place in enumerate(sites):
        wrong = (~_right(model, _stream(place, kept), place.wanted)).nonzero()[:, 0]
        if len(wrong):
            hard[i] = torch.cat([hard[i], wrong[:REMEMBERED]])
            return False
    return True


def _rows(site: Site, rows: Int64[Tensor, "row"]) -> Site:
    return site._replace(rest=site.rest[rows], moved=site.moved[rows], wanted=site.wanted[rows])


def minimal_sets(model: TransformerBridge, sites: Sequence[Site]) -> Bool[Tensor, "set neuron"]:
    """Every set of neurons that keeps all answers right and of which no proper subset does.

    No set is left untried: one is refused by a string that it gets wrong, and accepted after all
    strings were evaluated. There is none where an answer is wrong with all neurons.

    Raises:
        ValueError: there are more than 16 neurons.
    """
    n = sites[0].moved.shape[1]
    if n > ENUMERABLE:
        raise ValueError(f"There are {n} neurons; every subset is tried of up to {ENUMERABLE}.")
    sets = (torch.arange(2**n)[:, None] >> torch.arange(n) & 1).bool()
    if not all_answers(model, sites, sets[-1]).right.all():
        return sets[:0]
    sets = sets[sets.sum(dim=1).argsort(stable=True)]
    hard = [torch.empty(0, dtype=torch.int64) for _ in sites]
    smallest: list[Tensor] = []
    while len(sets):
        tested, sets = sets[0], sets[1:]
        if _all_right(model, sites, tested, hard):
            smallest.append(tested)
            sets = sets[~(sets | ~tested).all(dim=1)]
            continue
        # The strings that refused this set refuse many others at once.
        for place, rows in zip(sites, hard, strict=True):
            for row in rows[-REMEMBERED:].tolist():
                sets = sets[_right_on(model, _rows(place, torch.tensor([row])), sets)]
    return torch.stack(smallest)


def _right_on(
    model: TransformerBridge, string: Site, sets: Bool[Tensor, "set neuron"]
) -> Bool[Tensor, "set"]:
    # (set, d_model): the one string's stream under each set of kept neurons.
    resid = string.rest + sets.double() @ (string.moved.T * string.writes)
    return _right(model, resid, string.wanted.expand(len(sets)))


def kept_right(
    model: TransformerBridge, sites: Sequence[Site], size: int, draws: int, seed: int = 0
) -> Float[Tensor, "draw"]:
    """The share of all answers that are right with so many neurons kept, drawn at random."""
    generator = torch.Generator().manual_seed(seed)
    shares = []
    for _ in range(draws):
        kept = torch.zeros(sites[0].moved.shape[1], dtype=torch.bool)
        kept[torch.randperm(len(kept), generator=generator)[:size]] = True
        right = [_right(model, _stream(place, kept), place.wanted) for place in sites]
        shares.append(torch.stack(right).double().mean())
    return torch.stack(shares)


def lost_without(
    model: TransformerBridge, sites: Sequence[Site], groups: Sequence[Sequence[int]]
) -> Int64[Tensor, "group"]:
    """How many answers, at all sites together, are lost without each group of neurons.

    Only strings whose answer a group could cost are tried: see :func:`_least_left`. All answers of
    the whole model must be right.
    """
    lost = torch.zeros(len(groups), dtype=torch.int64)
    for place in sites:
        lead, cost = _least_left(model, place)
        # Strings that not even the most costly group of this size could turn wrong stay out.
        most = cost.topk(max(map(len, groups)), dim=0).values.sum(dim=0)
        near = (lead <= most).nonzero()[:, 0]
        place, lead, cost = _rows(place, near), lead[near], cost[:, near]
        for i, group in enumerate(groups):
            at_risk = (lead <= cost[list(group)].sum(dim=0)).nonzero()[:, 0]
            if len(at_risk):
                kept = torch.ones(len(cost), dtype=torch.bool)
                kept[list(group)] = False
                risky = _rows(place, at_risk)
                lost[i] += (~_right(model, _stream(risky, kept), risky.wanted)).sum()
    return lost


def _least_left(
    model: TransformerBridge, site: Site
) -> tuple[Float[Tensor, "strings"], Float[Tensor, "neuron strings"]]:
    """The lead of each right answer, and at most what each neuron's absence takes from it.

    Behind the last LayerNorm the wanted token t beats c by (z·g)/σ + b, with z the centred
    stream, σ its deviation, g = γ ⊙ (u_t − u_c) and b = β·(u_t − u_c). Times σ > 0 that is
    z·g + σ b. Taking away a vector a changes z·g by a·g and σ by at most ‖a‖/√d, so leads less
    costs bound it.
    """
    norm, unembed = model.ln_final, model.unembed.weight.detach()
    stream = site.rest + site.moved @ site.writes
    centred = stream - stream.mean(dim=1, keepdim=True)
    deviation = (centred.square().mean(dim=1) + model.cfg.eps).sqrt()
    writes = site.writes - site.writes.mean(dim=1, keepdim=True)
    lead = torch.full_like(deviation, torch.inf)
    cost = torch.zeros(len(writes), len(stream), dtype=stream.dtype)
    for token in site.wanted.unique():
        rows = (site.wanted == token).nonzero()[:, 0]
        rivals = torch.arange(len(unembed)) != token
        # (rival, d_model)
        ahead = unembed[token] - unembed[rivals]
        direction, offset = ahead * norm.weight.detach(), ahead @ norm.bias.detach()
        lead[rows] = (centred[rows] @ direction.T + deviation[rows, None] * offset).amin(dim=1)
        # (neuron, string, rival)
        along = (writes @ direction.T)[:, None] * site.moved[rows].T[:, :, None]
        spread = writes.norm(dim=1)[:, None] * site.moved[rows].T.abs() / writes.shape[1] ** 0.5
        cost[:, rows] = (along + spread[:, :, None] * offset.abs()).amax(dim=2).clamp(min=0)
    return lead, cost
