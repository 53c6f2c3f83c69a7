"""Everything known about each latent, one record for each: what the browser of latents shows."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from palindrome_lens.dictionary import effects
from palindrome_lens.dictionary.effects import Effect, Pairs, Rest
from palindrome_lens.dictionary.rules import Rule
from palindrome_lens.sae.metrics import Dictionary
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import vocabulary

BINS = 16
STRONGEST = 6
NEAREST = 3
TOKENS = 3

Card = dict[str, Any]
"""Plain numbers, words, lists and dictionaries: it is written as JSON. Where several values belong
together they are one string, with spaces between, as ``"17 0.505"`` for a latent and a cosine: a
notebook gives each entry a line of its own. A missing entry means that
a dead latent, or one without a rule about certain slots, has no such thing."""


class Targets(NamedTuple):
    """At which positions each latent is meant to act, and at which it is not.

    Both hold only positions whose target is determined; a latent without a rule is meant nowhere.
    """

    on: Bool[Tensor, "d_sae position"]
    off: Bool[Tensor, "d_sae position"]


class Evidence(NamedTuple):
    """What was measured about a dictionary."""

    dictionary: Dictionary
    x: Float[Tensor, "strings d_in"]
    latents: Float[Tensor, "strings d_sae"]
    rules: dict[int, Rule]
    """Of every latent that fires."""
    interventions: dict[str, Effect]
    pairs: Pairs
    reference: Float[Tensor, "slot letter d_in"]


def targets_of(task: Task, rules: dict[int, Rule], d_sae: int) -> Targets:
    """On target: the queries that predict the letters of the slots that a rule is about."""
    on = torch.zeros(d_sae, task.n_positions, dtype=torch.bool)
    for latent, rule in rules.items():
        for query in task.mirrored_positions:
            on[latent, query] = rule.slots()[task.mirror_position(query) - 1]
    determined = torch.ones(task.n_positions, dtype=torch.bool)
    determined[list(task.free_positions)] = False
    return Targets(on, ~on & determined)


def wrote(task: Task, effect: Effect, rules: dict[int, Rule]) -> dict[int, int]:
    """On how many strings an intervention makes the query of a rule answer one of its letters.

    Only answers count that were something else before. Rules that are not about one slot are left
    out.
    """
    found = {}
    for latent, rule in rules.items():
        slots = rule.slots().nonzero()[:, 0].tolist()
        if len(slots) == 1:
            query = 2 * task.half_length - slots[0]
            named = zip(task.alphabet, rule.terms[0][slots[0]].tolist(), strict=True)
            ids = [vocabulary(task)[letter] for letter, there in named if there]
            found[latent] = int(effect.moved_to[latent, query, ids].sum())
    return found


def collect(task: Task, rest: Rest, evidence: Evidence) -> list[Card]:
    """One card for each latent of a dictionary, dead ones included, in order.

    Rounded to three significant digits, or to whole percents of the largest where there are many
    numbers, so that the page stays light and is the same on every machine.
    """
    d_sae = evidence.latents.shape[1]
    targets = targets_of(task, evidence.rules, d_sae)
    atoms = F.normalize(evidence.dictionary.W_dec.detach(), dim=1)
    cosines = atoms @ atoms.T
    together = correlations(evidence.latents)
    split = {
        name: (effects.divided(effect, targets.on), effects.divided(effect, targets.off))
        for name, effect in evidence.interventions.items()
    }
    written = {
        name: wrote(task, effect, evidence.rules) for name, effect in evidence.interventions.items()
    }
    direct = effects.direct_logits(rest, evidence.dictionary.W_dec)
    shape = rest.resid.shape[1:]
    found = []
    for latent in range(d_sae):
        on_target = targets.on[latent].nonzero()[:, 0].tolist()
        atom = atoms[latent].reshape(shape)
        position = on_target[0] if on_target else int(atom.norm(dim=1).argmax())
        card: Card = {
            "latent": latent,
            "support": int((evidence.latents[:, latent] > 0).sum()),
            "atom": _percents(atom),
            **_reference(task, evidence.reference, atoms[latent]),
            "similar": nearest(cosines, latent),
            "similar_cosine": _short(cosines[latent].index_fill(0, torch.tensor(latent), -1).max()),
            "logits": {"position": position, **_logits(task, direct[latent, position])},
        }
        if latent in evidence.rules:
            card |= _firing(task, evidence, latent, on_target)
            card["together"] = nearest(together, latent)
            card["partner"] = partner(evidence.pairs, latent)
            card["effects"] = {
                name: _effect(evidence.interventions[name], latent, *parts)
                | ({"wrote": written[name][latent]} if latent in written[name] else {})
                for name, parts in split.items()
            }
        found.append(card)
    return found


def _firing(task: Task, evidence: Evidence, latent: int, on_target: list[int]) -> Card:
    rule, activation = evidence.rules[latent], evidence.latents[:, latent]
    values, chosen = activation.topk(min(STRONGEST, rule.support))
    lost = contributions(evidence.dictionary, evidence.x, chosen, latent, task.n_positions)
    strings = task.strings()
    return {
        "rule": rule.text,
        "precision": _short(rule.precision),
        "recall": _short(rule.recall),
        "exceptions": rule.exceptions,
        "queries": on_target,
        "largest": _short(activation.max()),
        "mean": _short(effects.mean_firing(activation[:, None])[0]),
        "histogram": _joined(histogram(activation)),
        "strongest": [
            f"{strings[i][1 : 1 + task.half_length]} {_short(value)} {_percents(row)}"
            for i, value, row in zip(chosen.tolist(), values, lost, strict=True)
        ],
    }


def _effect(effect: Effect, latent: int, on: effects.Split, off: effects.Split) -> Card:
    row: Card = {"strings": int(effect.strings[latent])}
    for name, part in (("on", on), ("off", off)):
        row[f"{name}_mean"] = _short(part.mean[latent])
        row[f"{name}_worst"] = _short(part.worst[latent])
        row[f"{name}_flips"] = int(part.flips[latent])
    return row


def histogram(activation: Float[Tensor, "strings"]) -> list[int]:
    """How many firing strings fall in each of 16 equal parts between 0 and the largest."""
    on = activation[activation > 0]
    part = (on / on.max() * BINS).floor().clamp(max=BINS - 1).long()
    return torch.bincount(part, minlength=BINS).tolist()


def contributions(
    dictionary: Dictionary,
    x: Float[Tensor, "strings d_in"],
    chosen: Tensor,
    latent: int,
    n_positions: int,
) -> Float[Tensor, "chosen position"]:
    """The share of a latent's activation that is lost when one position says nothing.

    The numbers of that position are replaced by their mean over all strings, and the string is
    encoded again: exact, and the same for every architecture. 1 means that nothing is left; the
    shares need not add up to 1.
    """
    own = x[chosen]
    width = x.shape[1] // n_positions
    with torch.no_grad():
        full = dictionary.encode(own)[:, latent]
        lost = []
        for position in range(n_positions):
            part = slice(position * width, (position + 1) * width)
            blind = own.clone()
            blind[:, part] = x[:, part].mean(dim=0)
            lost.append((full - dictionary.encode(blind)[:, latent]) / full)
    return torch.stack(lost, dim=1)


def nearest(similarity: Float[Tensor, "d_sae d_sae"], latent: int) -> list[str]:
    """The other latents that are most similar to one, with the similarity; of equals the first."""
    row = similarity[latent].clone()
    row[latent] = -torch.inf
    order = row.argsort(descending=True, stable=True)[:NEAREST].tolist()
    return [f"{other} {_short(row[other])}" for other in order]


def correlations(latents: Float[Tensor, "strings d_sae"]) -> Float[Tensor, "d_sae d_sae"]:
    """Pearson's correlation of two latents' activations over all strings; 0 if one is dead."""
    centred = latents - latents.mean(dim=0)
    norms = centred.norm(dim=0)
    product = norms[:, None] * norms
    return (centred.T @ centred) / product.where(product > 0, 1.0)


def partner(pairs: Pairs, latent: int) -> Card | None:
    """The latent whose ablation interacts most with this one's at some position, on the mean."""
    mine = ((pairs.first == latent) | (pairs.second == latent)).nonzero()[:, 0]
    if not len(mine):
        return None
    extra = pairs.interaction[mine]
    best = int(extra.abs().amax(dim=1).argmax())
    row = mine[best]
    return {
        "latent": int(pairs.first[row] + pairs.second[row]) - latent,
        "strings": int(pairs.strings[row]),
        "interaction": _short(extra[best, extra[best].abs().argmax()]),
        "joint_flips": int(pairs.joint_flips[row].sum()),
    }


def _reference(
    task: Task, reference: Float[Tensor, "slot letter d_in"], atom: Float[Tensor, "d_in"]
) -> Card:
    cosines = F.normalize(reference, dim=-1) @ atom
    slot, letter = divmod(int(cosines.argmax()), len(task.alphabet))
    name = "".join(task.alphabet[letter] if s == slot else "·" for s in range(task.half_length))
    return {"reference": name, "reference_cosine": _short(cosines[slot, letter])}


def _logits(task: Task, added: Float[Tensor, "vocab"]) -> Card:
    characters = list(vocabulary(task))
    order = added.argsort(descending=True, stable=True).tolist()
    named = [f"{characters[token]} {_short(added[token])}" for token in order]
    return {"up": named[:TOKENS], "down": named[: -TOKENS - 1 : -1]}


def _percents(values: Tensor) -> str:
    return _joined((100 * values).round().long().flatten().tolist())


def _joined(values: list[int]) -> str:
    return " ".join(map(str, values))


def _short(value: Tensor | float) -> float:
    """Three significant digits; what is below a thousandth is 0."""
    number = float(value)
    return 0.0 if abs(number) < 1e-3 else float(f"{number:.3g}")
