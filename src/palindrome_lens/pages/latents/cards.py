"""Everything known about each latent, one card for each: what the browser of latents shows.

The types here are the schema of the page. A notebook stores cards with ``Latents``, and the
directive reads them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, NotRequired, TypedDict

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from palindrome_lens.dictionary import effects
from palindrome_lens.dictionary.effects import Effect, Pairs, Rest
from palindrome_lens.dictionary.rules import Rule
from palindrome_lens.dictionary.targets import targets_of, wrote
from palindrome_lens.sae.metrics import Dictionary
from palindrome_lens.task import Task
from palindrome_lens.tokenizer import vocabulary

MIME = "application/vnd.palindrome-lens.latents.v1+json"
BINS = 16
STRONGEST = 6
NEAREST = 3
TOKENS = 3

Numbers = str
"""Many whole numbers as one text, with spaces between: a notebook gives each entry of a list a line
of its own."""


class Neighbour(TypedDict):
    """Another latent, and its cosine or its correlation with this one."""

    latent: int
    similarity: float


class TokenLogit(TypedDict):
    """What is added to the logit of a token."""

    token: str
    logit: float


class DirectLogits(TypedDict):
    """The tokens that an atom raises and lowers most at a position."""

    position: int
    up: list[TokenLogit]
    down: list[TokenLogit]


class Strongest(TypedDict):
    """A string on which a latent is strong: its free letters, and what each position adds.

    ``lost`` holds the percentage of the activation that is lost without each position.
    """

    letters: str
    activation: float
    lost: Numbers


class EffectRow(TypedDict):
    """What an intervention does: changes of the loss in nats, and answers lost ("flips")."""

    strings: int
    on_mean: float
    on_worst: float
    on_flips: int
    off_mean: float
    off_worst: float
    off_flips: int
    wrote: NotRequired[int]
    """For a rule about one slot: how many answers became a letter of the rule."""


class Partner(TypedDict):
    """The latent with which a latent interacts most."""

    latent: int
    strings: int
    interaction: float
    joint_flips: int


class Card(TypedDict):
    """One latent. What is not required, a dead latent lacks."""

    latent: int
    support: int
    atom: Numbers
    """Percent, position by position."""
    reference: str
    reference_cosine: float
    similar: list[Neighbour]
    similar_cosine: float
    logits: DirectLogits
    rule: NotRequired[str]
    precision: NotRequired[float]
    recall: NotRequired[float]
    exceptions: NotRequired[int]
    queries: NotRequired[list[int]]
    largest: NotRequired[float]
    mean: NotRequired[float]
    histogram: NotRequired[Numbers]
    strongest: NotRequired[list[Strongest]]
    together: NotRequired[list[Neighbour]]
    partner: NotRequired[Partner | None]
    effects: NotRequired[dict[str, EffectRow]]


class Stored(TypedDict):
    """What a notebook stores for the page."""

    positions: int
    cards: list[Card]


class Latents:
    """The cards of all latents, stored as JSON for the page that browses them.

    The notebook itself shows only how many there are.
    """

    def __init__(self, task: Task, cards: Sequence[Card]) -> None:
        self.stored: Stored = {"positions": task.n_positions, "cards": list(cards)}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {MIME: self.stored, "text/plain": sentence(self.stored)}


def sentence(stored: Stored) -> str:
    """What is shown where the page is not."""
    return f"{len(stored['cards'])} latents, each with a card of its own."


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
    cards = []
    for latent in range(d_sae):
        queries = targets.on[latent].nonzero()[:, 0].tolist()
        atom = atoms[latent].reshape(rest.resid.shape[1:])
        position = queries[0] if queries else int(atom.norm(dim=1).argmax())
        reference, cosine = _nearest_reference(task, evidence.reference, atoms[latent])
        card: Card = {
            "latent": latent,
            "support": int((evidence.latents[:, latent] > 0).sum()),
            "atom": _percents(atom),
            "reference": reference,
            "reference_cosine": cosine,
            "similar": nearest(cosines, latent),
            "similar_cosine": _short(cosines[latent].index_fill(0, torch.tensor(latent), -1).max()),
            "logits": _logits(task, position, direct[latent, position]),
        }
        if latent in evidence.rules:
            _add_rule(card, evidence.rules[latent], queries)
            _add_activations(card, task, evidence)
            card["together"] = nearest(together, latent)
            card["partner"] = partner(evidence.pairs, latent)
            card["effects"] = {
                name: _effect(evidence.interventions[name], latent, *parts)
                for name, parts in split.items()
            }
            for name, answers in written.items():
                if latent in answers:
                    card["effects"][name]["wrote"] = answers[latent]
        cards.append(card)
    return cards


def _add_rule(card: Card, rule: Rule, queries: list[int]) -> None:
    card["rule"] = rule.text
    card["precision"], card["recall"] = _short(rule.precision), _short(rule.recall)
    card["exceptions"] = rule.exceptions
    card["queries"] = queries


def _add_activations(card: Card, task: Task, evidence: Evidence) -> None:
    latent = card["latent"]
    activation = evidence.latents[:, latent]
    values, chosen = activation.topk(min(STRONGEST, card["support"]))
    lost = contributions(evidence.dictionary, evidence.x, chosen, latent, task.n_positions)
    strings = task.strings()
    card["largest"] = _short(activation.max())
    card["mean"] = _short(effects.mean_firing(activation[:, None])[0])
    card["histogram"] = _joined(histogram(activation))
    card["strongest"] = [
        {
            "letters": strings[i][1 : 1 + task.half_length],
            "activation": _short(value),
            "lost": _percents(row),
        }
        for i, value, row in zip(chosen.tolist(), values, lost, strict=True)
    ]


def _effect(effect: Effect, latent: int, on: effects.Split, off: effects.Split) -> EffectRow:
    return {
        "strings": int(effect.strings[latent]),
        "on_mean": _short(on.mean[latent]),
        "on_worst": _short(on.worst[latent]),
        "on_flips": int(on.flips[latent]),
        "off_mean": _short(off.mean[latent]),
        "off_worst": _short(off.worst[latent]),
        "off_flips": int(off.flips[latent]),
    }


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


def nearest(similarity: Float[Tensor, "d_sae d_sae"], latent: int) -> list[Neighbour]:
    """The other latents that are most similar to one; of equals the first."""
    row = similarity[latent].clone()
    row[latent] = -torch.inf
    order = row.argsort(descending=True, stable=True)[:NEAREST].tolist()
    return [{"latent": other, "similarity": _short(row[other])} for other in order]


def correlations(latents: Float[Tensor, "strings d_sae"]) -> Float[Tensor, "d_sae d_sae"]:
    """Pearson's correlation of two latents' activations over all strings; 0 if one is dead."""
    centred = latents - latents.mean(dim=0)
    norms = centred.norm(dim=0)
    product = norms[:, None] * norms
    return (centred.T @ centred) / product.where(product > 0, 1.0)


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


def _nearest_reference(
    task: Task, reference: Float[Tensor, "slot letter d_in"], atom: Float[Tensor, "d_in"]
) -> tuple[str, float]:
    cosines = F.normalize(reference, dim=-1) @ atom
    slot, letter = divmod(int(cosines.argmax()), len(task.alphabet))
    name = "".join(task.alphabet[letter] if s == slot else "·" for s in range(task.half_length))
    return name, _short(cosines[slot, letter])


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
