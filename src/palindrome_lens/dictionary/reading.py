"""The learned atoms: extraction, strongest strings, and the rules that a person reads off them."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.sae import metrics
from palindrome_lens.sae.autoencoders import Autoencoder
from palindrome_lens.task import Task


def encoder_directions(
    autoencoder: Autoencoder, n_positions: int
) -> Float[Tensor, "d_sae position d_model"]:
    """What each latent listens to: its row of encoder weights, one vector per position."""
    return autoencoder.W_enc.detach().T.reshape(autoencoder.d_sae, n_positions, -1)


def atoms(autoencoder: Autoencoder, n_positions: int) -> Float[Tensor, "d_sae position d_model"]:
    """What each latent writes: its decoder direction, one vector per position."""
    return autoencoder.W_dec.detach().reshape(autoencoder.d_sae, n_positions, -1)


class Usual(NamedTuple):
    """The numbers that one asks of an autoencoder before reading it, over all strings."""

    explained_variance: float
    l0: float
    """Latents that are not 0, per string."""
    live: int
    """Latents that are above 0 on some string."""
    positive_mean: int
    """Latents whose mean is above 0: what the original notebook counted, on one batch."""
    recovered_from_mean: float
    """Of the cross-entropy (:class:`~palindrome_lens.sae.splicing.CrossEntropy`)."""
    recovered_from_zero: float
    above: float
    """Latents that are above 0, per string."""


def usual_numbers(
    model: TransformerBridge,
    tokens: Int64[Tensor, "strings length"],
    x: Float[Tensor, "strings d_in"],
    autoencoder: Autoencoder,
) -> Usual:
    """Ask them of an autoencoder of whole strings, whose activations are ``x``."""
    with torch.no_grad():
        latents = autoencoder.encode(x)
        rebuilt = autoencoder.decode(latents)
    entropy = metrics.cross_entropy(model, tokens, autoencoder.config.hook, autoencoder)
    return Usual(
        metrics.explained_variance(x, rebuilt),
        metrics.l0(latents),
        int((latents > 0).any(dim=0).sum()),
        int((latents.mean(dim=0) > 0).sum()),
        entropy.recovered_from_mean,
        entropy.recovered_from_zero,
        float((latents > 0).sum(dim=1).double().mean()),
    )


def strongest_latents(latents: Float[Tensor, "strings d_sae"], n: int) -> Int64[Tensor, "n"]:
    """The latents whose activation varies most over all strings, largest variance first.

    Variance, not size: a latent that is large and the same on every string says nothing about them.
    """
    return latents.var(dim=0).topk(n).indices


class Strongest(NamedTuple):
    """The strings on which a latent is largest, and on how many it is above 0 at all."""

    latent: int
    strings: list[str]
    activations: list[float]
    firing_count: int


def strongest_strings(
    latents: Float[Tensor, "strings d_sae"], strings: list[str], latent: int, n: int = 8
) -> Strongest:
    """The ``n`` strings that activate a latent most, out of all that are given."""
    values, indices = latents[:, latent].topk(n)
    return Strongest(
        latent,
        [strings[i] for i in indices.tolist()],
        values.tolist(),
        int((latents[:, latent] > 0).sum()),
    )


class Rule(NamedTuple):
    """A condition on letters that stands for a latent: the letters allowed in each slot.

    ``None`` allows any letter. Precision and recall are exact, over all strings, against the
    strings on which the latent exceeds half its maximum.
    """

    slots: tuple[str | None, ...]
    precision: float
    recall: float
    n_strings: int
    """How many strings satisfy the rule."""

    @property
    def exact(self) -> bool:
        """Whether the rule holds on exactly the strings on which the latent is strong."""
        return self.precision == self.recall == 1

    @property
    def text(self) -> str:
        """``a·c``: the letter wanted in each slot, a dot where any will do."""
        return "".join(slot or "·" for slot in self.slots)


def read_rule(
    task: Task,
    letters: Int64[Tensor, "strings slot"],
    activation: Float[Tensor, "strings"],
) -> Rule:
    """The conjunction of (letter, slot) conditions that fits best where a latent is strong.

    All conjunctions with at most one letter per slot are tried, built from the letters of the
    strongest string; the best F1 wins, and of equals the shortest. A latent that stands for a
    choice of several letters in a slot has no good rule of this form: its F1 says so.

    Raises:
        ValueError: the latent is above 0 on no string.
    """
    if activation.max() <= 0:
        raise ValueError(
            f"The latent's largest activation is {float(activation.max()):.4g}; "
            "a rule needs a string on which it is above 0."
        )
    strong = activation > activation.max() / 2
    wanted = letters[activation.argmax()]
    candidates = [_conjunction(letters, wanted, chosen) for chosen in _subsets(letters.shape[1])]
    scored = [(_f1(rule, strong), -sum(chosen), chosen) for rule, chosen in candidates]
    _, _, best = max(scored)
    holds = _conjunction(letters, wanted, best)[0]
    both = int((holds & strong).sum())
    return Rule(
        tuple(
            task.alphabet[int(letter) - FIRST_LETTER] if used else None
            for letter, used in zip(wanted, best, strict=True)
        ),
        precision=both / int(holds.sum()),
        recall=both / int(strong.sum()),
        n_strings=int(holds.sum()),
    )


FIRST_LETTER = 2
"""The id of the first letter of the alphabet: ``<`` and ``>`` come before it."""


def _subsets(n: int) -> list[tuple[bool, ...]]:
    return [tuple(bool(i >> slot & 1) for slot in range(n)) for i in range(2**n)]


def _conjunction(
    letters: Int64[Tensor, "strings slot"],
    wanted: Int64[Tensor, "slot"],
    chosen: tuple[bool, ...],
) -> tuple[Bool[Tensor, "strings"], tuple[bool, ...]]:
    free = ~torch.tensor(chosen)
    return ((letters == wanted) | free).all(dim=1), chosen


def _f1(predicted: Bool[Tensor, "strings"], actual: Bool[Tensor, "strings"]) -> float:
    both = float((predicted & actual).sum())
    return 2 * both / float(predicted.sum() + actual.sum())
