"""Everything known about each latent, one card for each: what the browser of latents shows."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from palindrome_lens.dictionary import effects
from palindrome_lens.dictionary.effects import Effect, Pairs, Rest
from palindrome_lens.dictionary.rules import Rule
from palindrome_lens.dictionary.targets import Targets, targets_of, wrote
from palindrome_lens.pages.latents.schema import (
    Card,
    DirectLogits,
    EffectRow,
    Neighbour,
    Partner,
    Strongest,
    TokenLogit,
)
from palindrome_lens.sae.metrics import Dictionary
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import vocabulary

BINS = 16
STRONGEST = 6
NEAREST = 3
TOKENS = 3


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


def collect(task: Task, rest: Rest, evidence: Evidence) -> list[Card]:
    """One card for each latent of a dictionary, dead ones included, in order.

    Rounded to three significant digits, or to whole percents of the largest where there are many
    numbers, so that the page stays light and is the same on every machine.
    """
    W_dec, latents, rules = evidence.dictionary.W_dec.detach(), evidence.latents, evidence.rules
    targets = targets_of(task, rules, len(W_dec))
    atoms = F.normalize(W_dec, dim=1)
    similar, together = atoms @ atoms.T, correlations(latents)
    reference = F.normalize(evidence.reference.flatten(end_dim=1), dim=1)
    alike = atoms @ reference.T  # (latents, slots and letters)
    direct = effects.direct_logits(rest, W_dec)
    means = effects.mean_firing(latents)
    changed = {
        name: _effect_rows(effect, targets, wrote(task, effect, rules))
        for name, effect in evidence.interventions.items()
    }
    cards = []
    for latent, atom in enumerate(atoms.unflatten(1, rest.resid.shape[1:])):
        queries = targets.on[latent].nonzero()[:, 0].tolist()
        position = queries[0] if queries else int(atom.norm(dim=1).argmax())
        neighbours = nearest(similar, latent)
        card: Card = {
            "latent": latent,
            "support": int((latents[:, latent] > 0).sum()),
            "atom": _percents(atom),
            "reference": _name(task, int(alike[latent].argmax())),
            "reference_cosine": _short(alike[latent].max()),
            "similar": neighbours,
            "similar_cosine": neighbours[0]["similarity"],
            "logits": _logits(task, position, direct[latent, position]),
        }
        if rule := rules.get(latent):
            card |= {
                "rule": rule.text,
                "precision": _short(rule.precision),
                "recall": _short(rule.recall),
                "exceptions": rule.exceptions,
                "queries": queries,
                "largest": _short(latents[:, latent].max()),
                "mean": _short(means[latent]),
                "histogram": _joined(histogram(latents[:, latent])),
                "strongest": _strongest(task, evidence, latent, rule.support),
                "together": nearest(together, latent),
                "partner": partner(evidence.pairs, latent),
                "effects": {name: rows[latent] for name, rows in changed.items()},
            }
        cards.append(card)
    return cards


def _effect_rows(effect: Effect, targets: Targets, answers: dict[int, int]) -> list[EffectRow]:
    """One row for each latent, with its entry in ``answers`` where it has one."""
    on, off = (effects.divided(effect, mask) for mask in targets)
    rows: list[EffectRow] = [
        {
            "strings": int(strings),
            "on_mean": _short(on.mean[latent]),
            "on_worst": _short(on.worst[latent]),
            "on_flips": int(on.flips[latent]),
            "off_mean": _short(off.mean[latent]),
            "off_worst": _short(off.worst[latent]),
            "off_flips": int(off.flips[latent]),
        }
        for latent, strings in enumerate(effect.strings)
    ]
    for latent, number in answers.items():
        rows[latent]["wrote"] = number
    return rows


def _strongest(task: Task, evidence: Evidence, latent: int, support: int) -> list[Strongest]:
    values, chosen = evidence.latents[:, latent].topk(min(STRONGEST, support))
    lost = contributions(evidence.dictionary, evidence.x, chosen, latent, task.n_positions)
    strings = task.strings()
    return [
        {
            "letters": strings[i][1 : 1 + task.half_length],
            "activation": _short(value),
            "lost": _percents(row),
        }
        for i, value, row in zip(chosen.tolist(), values, lost, strict=True)
    ]


def histogram(activation: Float[Tensor, "strings"]) -> list[int]:
    """How many firing strings fall in each of 16 equal parts between 0 and the largest."""
    on = activation[activation > 0]
    return torch.histc(on, BINS, 0, float(on.max())).int().tolist()


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


def nearest(similarity: Float[Tensor, "d_sae d_sae"], latent: int) -> list[Neighbour]:
    """The other latents that are most similar to one; of equals the first."""
    row = similarity[latent].clone()
    row[latent] = -torch.inf
    order = row.argsort(descending=True, stable=True)[:NEAREST].tolist()
    return [{"latent": other, "similarity": _short(row[other])} for other in order]


def correlations(latents: Float[Tensor, "strings d_sae"]) -> Float[Tensor, "d_sae d_sae"]:
    """Pearson's correlation of two latents' activations over all strings; 0 if one is dead."""
    return torch.corrcoef(latents.T).nan_to_num(0.0)


def partner(pairs: Pairs, latent: int) -> Partner | None:
    """The latent whose ablation interacts most with this one's at some position, on the mean."""
    own_pairs = ((pairs.first == latent) | (pairs.second == latent)).nonzero()[:, 0]
    if not len(own_pairs):
        return None
    extra = pairs.interaction[own_pairs]
    best = int(extra.abs().amax(dim=1).argmax())
    row = own_pairs[best]
    return {
        "latent": int(pairs.first[row] + pairs.second[row]) - latent,
        "strings": int(pairs.strings[row]),
        "interaction": _short(extra[best, extra[best].abs().argmax()]),
        "joint_flips": int(pairs.joint_flips[row].sum()),
    }


def _name(task: Task, feature: int) -> str:
    """A pair of a slot and a letter, counted slot by slot, as ``··m``."""
    slot, letter = divmod(feature, len(task.alphabet))
    return "·" * slot + task.alphabet[letter] + "·" * (task.half_length - 1 - slot)


def _logits(task: Task, position: int, added: Float[Tensor, "vocab"]) -> DirectLogits:
    characters = list(vocabulary(task))
    order = added.argsort(descending=True, stable=True).tolist()
    named: list[TokenLogit] = [
        {"token": characters[token], "logit": _short(added[token])} for token in order
    ]
    return {"position": position, "up": named[:TOKENS], "down": named[: -TOKENS - 1 : -1]}


def _percents(values: Tensor) -> str:
    return _joined((100 * values).round().long().flatten().tolist())


def _joined(values: list[int]) -> str:
    return " ".join(map(str, values))


def _short(value: Tensor | float) -> float:
    """Three significant digits; what is below a thousandth is 0."""
    number = float(value)
    return 0.0 if abs(number) < 1e-3 else float(f"{number:.3g}")
