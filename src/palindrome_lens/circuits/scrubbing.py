"""Causal scrubbing without sampling, and ever simpler stand-ins for the model.

Causal scrubbing (Chan et al. 2022) tests a hypothesis by every swap that it allows: what it calls
irrelevant is taken from another string, the *donor*. Here all donors are enumerated. At one query
position the graph has four nodes, each a function of the string; what follows attention joins them.
"""

from collections.abc import Collection
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from pandas import DataFrame
from torch import Tensor

from palindrome_lens.circuits.subject import Subject
from palindrome_lens.circuits.tables import (
    CHUNK,
    Tables,
    finish,
    margin,
    mlp_out,
    pattern,
    unembedded,
)
from palindrome_lens.task import Task, inputs, letters, targets

Node = Literal["direct", "pattern", "mirror", "others"]
NODES: tuple[Node, ...] = ("direct", "pattern", "mirror", "others")


class Group(NamedTuple):
    """Nodes that are computed on one donor."""

    nodes: tuple[Node, ...]
    """``direct`` is the embedding at the query, ``pattern`` its attention weights, ``mirror`` the
    value read at the mirror position, ``others`` the values read at all other keys."""
    kept: frozenset[int]
    """Slots on which the donor has the letters of the string; all others are free."""


class Scrubbed(NamedTuple):
    """What is left of the model when everything is swapped that a hypothesis allows."""

    loss: float
    """Expected cross-entropy of the mirrored letter, in nats."""
    right: float
    """Share of the cases where the argmax is the string's own mirrored letter."""
    worst: float
    """The largest expected loss of a string over its donors, in nats."""
    cases: int
    """Combinations of own and donor letters that can differ; all of them were evaluated."""


NOTHING, FINAL, WHOLE = "nothing matters", "the value at the mirror", "everything (the model)"
REVERSE = "all but the value at the mirror"
LADDER = (NOTHING, "the letter beside", "all but the mirrored letter", FINAL, WHOLE)
"""From a hypothesis that knows nothing to the model itself. ``REVERSE`` swaps what ``FINAL``
keeps, and keeps the rest."""


def hypotheses(task: Task, query: int) -> dict[str, list[Group]]:
    """The rungs of the ``LADDER``, and ``REVERSE``, at a query.

    Raises:
        ValueError: the query predicts no mirrored letter.
    """
    target, every = task.slot_of(query), frozenset(range(task.half_length))
    none = frozenset[int]()
    beside = frozenset([(target + 1) % task.half_length])
    rest: tuple[Node, ...] = ("direct", "pattern", "others")
    return {
        NOTHING: [Group(NODES, none)],
        "the letter beside": [Group(NODES, beside)],
        "all but the mirrored letter": [Group(NODES, every - {target})],
        FINAL: [Group(("mirror",), every), Group(rest, none)],
        WHOLE: [Group(NODES, every)],
        REVERSE: [Group(("mirror",), none), Group(rest, every)],
    }


class Parts(NamedTuple):
    """The nodes of all strings at one query."""

    direct: Float[Tensor, "strings d_model"]
    weights: Float[Tensor, "strings head key"]
    values: Float[Tensor, "strings head key d_model"]


def slots(task: Task, node: Node, query: int) -> frozenset[int]:
    """The slots that a node depends on; ValueError where the query predicts no mirrored letter."""
    target = task.slot_of(query)
    if node == "pattern":
        return frozenset(range(task.half_length))
    if node == "mirror":
        return frozenset([target])
    if node == "others":
        return frozenset(range(task.half_length)) - {target}
    return frozenset([target + 1]) & frozenset(range(task.half_length))


def scrub(
    subject: Subject,
    query: int,
    hypothesis: list[Group],
) -> Scrubbed:
    """Evaluate a hypothesis about one query on every string with every donor it allows.

    Raises:
        ValueError: a node is in no group or in two, or the query predicts no mirrored letter.
    """
    task, model, tables, tokens = subject
    _check(hypothesis)
    needed = [frozenset().union(*(slots(task, n, query) for n in g.nodes)) for g in hypothesis]
    own = {task.slot_of(query)}.union(
        *(g.kept & n for g, n in zip(hypothesis, needed, strict=True))
    )
    variables = [(-1, slot) for slot in sorted(own)]
    for i, group in enumerate(hypothesis):
        variables += [(i, slot) for slot in sorted(needed[i] - group.kept)]

    parts = parts_of(tables, inputs(tokens), query)
    answers = targets(tokens)[:, query]
    base = len(task.alphabet)
    losses, right = [], 0
    for cases in torch.arange(base ** len(variables)).split(CHUNK):
        digit = {
            variable: cases // base ** (len(variables) - 1 - i) % base
            for i, variable in enumerate(variables)
        }
        donors = {
            node: _index(task, cases, digit, i, group.kept)
            for i, group in enumerate(hypothesis)
            for node in group.nodes
        }
        wanted = answers[_index(task, cases, digit, -1, frozenset())].unsqueeze(-1)
        logits = finish(model, joined(parts, tables.bias, donors, task.mirror_position(query)))
        losses.append(-logits.log_softmax(dim=-1).gather(-1, wanted).squeeze(-1))
        right += int((logits.argmax(dim=-1, keepdim=True) == wanted).sum())
    expected = torch.cat(losses).reshape(base ** len(own), -1).mean(dim=1)
    n = base ** len(variables)
    return Scrubbed(float(expected.mean()), right / n, float(expected.max()), n)


def scrubbed(subject: Subject, names: Collection[str] = (*LADDER, REVERSE)) -> DataFrame:
    """Some of the :func:`hypotheses` at every query, with ``NOTHING`` and ``WHOLE`` in any case.

    The rows are named by ``query`` and ``what matters``. The columns are those of
    :class:`Scrubbed`; ``above``, the loss less the model's own, in nats; and ``recovered``, the
    share of the loss that comes back (:func:`recovered`).
    """
    rows = {}
    for query in subject.queries:
        tested = {
            name: scrub(subject, query, groups)
            for name, groups in hypotheses(subject.task, query).items()
            if name in {NOTHING, WHOLE, *names}
        }
        random, model = tested[NOTHING].loss, tested[WHOLE].loss
        for name, result in tested.items():
            back = recovered(result.loss, random, model)
            more = {"above": result.loss - model, "recovered": back}
            rows[query, name] = result._asdict() | more
    return DataFrame.from_dict(rows, orient="index").rename_axis(["query", "what matters"])


def scrub_drawn(
    subject: Subject,
    query: int,
    hypothesis: list[Group],
    draws: int,
    seed: int = 0,
) -> Scrubbed:
    """Like :func:`scrub`, for hypotheses with too many donors: every string with ``draws`` of them.

    Each group draws its donors independently, uniformly from those that it allows.

    Raises:
        ValueError: a node is in no group or in two, or the query predicts no mirrored letter.
    """
    task, model, tables, tokens = subject
    _check(hypothesis)
    mirror = task.mirror_position(query)
    parts = parts_of(tables, inputs(tokens), query)
    wanted = targets(tokens)[:, query].unsqueeze(-1)
    own = torch.arange(len(tokens))
    base = len(task.alphabet)
    generator = torch.Generator().manual_seed(seed)
    losses, right = [], 0
    for _ in range(draws):
        donors: dict[Node, Tensor] = {}
        for group in hypothesis:
            donor = torch.randint(len(tokens), (len(tokens),), generator=generator)
            for slot in group.kept:
                place = base ** (task.half_length - 1 - slot)
                donor = donor + (own // place % base - donor // place % base) * place
            donors |= dict.fromkeys(group.nodes, donor)
        logits = finish(model, joined(parts, tables.bias, donors, mirror))
        losses.append(-logits.log_softmax(dim=-1).gather(-1, wanted).squeeze(-1))
        right += int((logits.argmax(dim=-1, keepdim=True) == wanted).sum())
    expected = torch.stack(losses).mean(dim=0)
    n = draws * len(tokens)
    return Scrubbed(float(expected.mean()), right / n, float(expected.max()), n)


def _check(hypothesis: list[Group]) -> None:
    if sorted(node for group in hypothesis for node in group.nodes) != sorted(NODES):
        raise ValueError(f"Each of {', '.join(NODES)} must be in exactly one group.")


def parts_of(tables: Tables, tokens: Int64[Tensor, "strings position"], query: int) -> Parts:
    """Read the nodes of all strings at one query off the tables."""
    keys = torch.arange(query + 1)
    return Parts(
        tables.embedded[query, tokens[:, query]],
        pattern(tables, tokens, query),
        tables.values[:, keys, tokens[:, : query + 1]].transpose(0, 1),
    )


def _index(
    task: Task,
    cases: Int64[Tensor, "cases"],
    digit: dict[tuple[int, int], Int64[Tensor, "cases"]],
    group: int,
    kept: frozenset[int],
) -> Int64[Tensor, "cases"]:
    """Which string each donor is. Letters that nothing depends on are the alphabet's first."""
    index = torch.zeros_like(cases)
    for slot in range(task.half_length):
        letter = digit.get((-1 if slot in kept else group, slot), torch.zeros_like(cases))
        index = index * len(task.alphabet) + letter
    return index


def joined(
    parts: Parts,
    bias: Float[Tensor, "d_model"],
    donors: dict[Node, Int64[Tensor, "cases"]],
    mirror: int,
) -> Float[Tensor, "cases d_model"]:
    """The residual stream after attention at a query, each node taken from a donor of its own."""
    read = parts.values[donors["others"]]
    read[:, :, mirror] = parts.values[donors["mirror"], :, mirror]
    written = torch.einsum("chk, chkd -> cd", parts.weights[donors["pattern"]], read)
    return parts.direct[donors["direct"]] + written + bias


def recovered(loss: float, random: float, model: float) -> float:
    """Loss recovered (Chan et al. 2022): 1 is the model's own loss, 0 that of a random donor."""
    return (random - loss) / (random - model)


STEPS = ("model", "hard pattern", "one code", "one letter table", "MLP table", "answer table")


def simplified(
    subject: Subject,
    query: int,
) -> dict[str, Float[Tensor, "strings vocab"]]:
    """Log-probabilities at a query of the model and of ever simpler stand-ins for it (``STEPS``).

    ``hard pattern`` attends to the mirror position alone. ``one letter table`` then reads a letter
    as the mean of its values over all mirror positions; ``one code`` does so too, but lets each
    position keep the mean that its values have over the letters. ``MLP table`` is ``one code`` with
    the MLP's output looked up as well: its mean in the model over all strings with the same
    mirrored letter. ``answer table`` is the mean of the model's log-probabilities over these
    strings, and computes nothing else.
    """
    task, model, tables, tokens = subject
    read = inputs(tokens)
    parts = parts_of(tables, read, query)
    everything = torch.arange(len(tokens))
    mirror = task.mirror_position(query)
    token = read[:, mirror]
    places = torch.tensor([task.mirror_position(p) for p in task.mirrored_positions])
    shared = tables.values[:, places].sum(dim=0).mean(dim=0)
    ids = letters(task, tokens).unique()
    own_mean = tables.values[:, mirror, ids].sum(dim=0).mean(dim=0)
    start = parts.direct + tables.bias
    resid = {
        "model": joined(parts, tables.bias, dict.fromkeys(NODES, everything), mirror),
        "hard pattern": start + parts.values[:, :, mirror].sum(dim=1),
        "one code": start + shared[token] - shared[ids].mean(dim=0) + own_mean,
        "one letter table": start + shared[token],
    }
    log_probs = {name: finish(model, value).log_softmax(dim=-1) for name, value in resid.items()}
    with torch.no_grad():
        mlp = mlp_out(model, resid["model"])
        after = resid["one code"] + _by_letter(mlp, token)
        log_probs["MLP table"] = unembedded(model, after).log_softmax(dim=-1)
    return log_probs | {"answer table": _by_letter(log_probs["model"], token)}


def _by_letter(
    values: Float[Tensor, "strings d"], letter: Int64[Tensor, "strings"]
) -> Float[Tensor, "strings d"]:
    """For each string the mean over all strings with the same letter."""
    _, which = letter.unique(return_inverse=True)
    total = values.new_zeros(int(which.max()) + 1, values.shape[1]).index_add(0, which, values)
    return (total / torch.bincount(which).unsqueeze(1))[which]


def stand_ins(subject: Subject) -> DataFrame:
    """How the ``STEPS`` of :func:`simplified` compare with the model, over all queries and strings.

    The columns are ``same``, on how many strings a step has the model's most probable token at
    every query; ``least margin`` of the right letter; and ``margin off``, how far its margin is
    from the model's at most. Margins are in nats.
    """
    queries = subject.queries
    by_query = [simplified(subject, query) for query in queries]
    wanted = torch.stack([subject.wanted(query) for query in queries])
    # (query, strings, vocab)
    log_probs = {step: torch.stack([steps[step] for steps in by_query]) for step in STEPS}
    answers = {step: log_probs[step].argmax(dim=-1) for step in STEPS}
    margins = {step: margin(log_probs[step], wanted) for step in STEPS}
    return DataFrame(
        {
            "same": [int((answers[s] == answers["model"]).all(dim=0).sum()) for s in STEPS],
            "least margin": [float(margins[s].min()) for s in STEPS],
            "margin off": [float((margins[s] - margins["model"]).abs().max()) for s in STEPS],
        },
        index=list(STEPS),
    ).rename_axis("step")
