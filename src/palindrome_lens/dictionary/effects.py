"""What each latent does: switched off, or on, on every string, with the rest of the model run.

After the last block only LayerNorm and the unembedding are left, which treat each position by
itself. So a change of the residual stream is followed exactly and cheaply, and every latent is
tried on every string. What the change of the latents adds to the reconstruction is added to what
the model goes on with: the activations x, whose error of reconstruction then stays, or the
reconstruction itself.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from pandas import DataFrame
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.model import activations
from palindrome_lens.task import inputs, targets

CHUNK = 1024
"""Cases at a time: their logits stay in a processor's cache."""


class Rest(NamedTuple):
    """What is left of the model after its last block, and what comes out of it unchanged."""

    model: TransformerBridge
    resid: Float[Tensor, "strings position d_model"]
    """The residual stream after the last block."""
    wanted: Int64[Tensor, "strings position"]
    """The targets."""
    loss: Float[Tensor, "strings position"]
    answer: Int64[Tensor, "strings position"]


class Effect(NamedTuple):
    """What an intervention on each latent does, over the strings that it changes."""

    strings: Int64[Tensor, "d_sae"]
    """How many strings are changed; on all others the effect is 0."""
    mean: Float[Tensor, "d_sae position"]
    """Change of the cross-entropy in nats, mean over these strings; 0 where there are none."""
    worst: Float[Tensor, "d_sae position"]
    """The largest rise on one of them; negative if the loss falls on each."""
    flips: Int64[Tensor, "d_sae position"]
    """On how many of them a right answer becomes a wrong one."""
    moved_to: Int64[Tensor, "d_sae position vocab"]
    """How often each token is given as an answer that was another token before."""


def rest_of(
    model: TransformerBridge,
    tokens: Int64[Tensor, "strings length"],
    hook: str,
    rebuilt: Float[Tensor, "strings d_in"] | None = None,
) -> Rest:
    """Run the model once, up to what follows its last block.

    Args:
        rebuilt: what takes the place of the activations at the hook, all positions of a string
            side by side; by default they stay.

    Raises:
        ValueError: what passes through the hook is not simply added to the last residual stream.
    """
    last = model.cfg.n_layers - 1
    allowed = [f"blocks.{last}.hook_mlp_out", f"blocks.{last}.hook_resid_post"]
    if hook not in allowed:
        raise ValueError(
            f"The effect of a latent at {hook!r} cannot be followed from the last residual stream; "
            f"that of one at {' or '.join(map(repr, allowed))} can."
        )
    name = allowed[1]
    cache = activations(model, inputs(tokens), [hook, name])
    resid = cache[name]
    if rebuilt is not None:
        resid = resid + rebuilt.reshape(resid.shape) - cache[hook]
    wanted = targets(tokens)
    loss, answer = _finish(model, resid, wanted)
    return Rest(model, resid, wanted, loss, answer)


def _finish(model: TransformerBridge, resid: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    losses, answers = [], []
    with torch.no_grad():
        for some, right in zip(resid.split(CHUNK), wanted.split(CHUNK), strict=True):
            logits = model.unembed(model.ln_final(some))
            own = logits.gather(-1, right.unsqueeze(-1)).squeeze(-1)
            losses.append(logits.logsumexp(dim=-1) - own)
            answers.append(logits.argmax(dim=-1))
    return torch.cat(losses), torch.cat(answers)


def moved(
    rest: Rest, strings: Int64[Tensor, "cases"], change: Float[Tensor, "cases position d_model"]
) -> tuple[Float[Tensor, "cases position"], Int64[Tensor, "cases position"]]:
    """Loss and answer of some strings when something is added to their residual stream."""
    return _finish(rest.model, rest.resid[strings] + change, rest.wanted[strings])


def ablate(
    rest: Rest, latents: Float[Tensor, "strings d_sae"], W_dec: Float[Tensor, "d_sae d_in"]
) -> Effect:
    """Set one latent at a time to 0, on each string on which it is not 0.

    Raises:
        ValueError: the shapes do not fit each other or the model.
    """
    atoms = _atoms(rest, latents, W_dec)
    each = ((latents[:, j] != 0).nonzero()[:, 0] for j in range(len(atoms)))
    return _gathered(
        rest,
        ((strings, -latents[strings, j, None, None] * atoms[j]) for j, strings in enumerate(each)),
    )


def clamp(
    rest: Rest,
    latents: Float[Tensor, "strings d_sae"],
    W_dec: Float[Tensor, "d_sae d_in"],
    levels: Float[Tensor, "d_sae"],
    silenced: Bool[Tensor, "d_sae d_sae"] | None = None,
) -> Effect:
    """Set one latent at a time to its level, on each string on which it is not above 0.

    Args:
        silenced: for each latent, which others are set to 0 at the same time; by default none.

    Raises:
        ValueError: the shapes do not fit each other or the model.
    """
    atoms = _atoms(rest, latents, W_dec)

    def change(j: int, strings: Tensor) -> Tensor:
        added = (levels[j] - latents[strings, j])[:, None, None] * atoms[j]
        if silenced is None or not bool(silenced[j].any()):
            return added
        taken = torch.einsum("nl, lpd -> npd", latents[strings][:, silenced[j]], atoms[silenced[j]])
        return added - taken

    each = ((latents[:, j] <= 0).nonzero()[:, 0] for j in range(len(atoms)))
    return _gathered(rest, ((strings, change(j, strings)) for j, strings in enumerate(each)))


def mean_firing(latents: Float[Tensor, "strings d_sae"]) -> Float[Tensor, "d_sae"]:
    """The mean of each latent over the strings on which it is above 0; 0 if there are none."""
    on = latents > 0
    return latents.where(on, 0.0).sum(dim=0) / on.sum(dim=0).clamp(min=1)


def _atoms(
    rest: Rest, latents: Float[Tensor, "strings d_sae"], W_dec: Float[Tensor, "d_sae d_in"]
) -> Float[Tensor, "d_sae position d_model"]:
    if len(latents) != len(rest.resid) or latents.shape[1] != len(W_dec):
        raise ValueError(
            f"Latents of shape {tuple(latents.shape)} do not fit {len(rest.resid):,} strings and "
            f"{len(W_dec)} atoms."
        )
    if W_dec.shape[1] != rest.resid[0].numel():
        raise ValueError(
            f"The atoms have {W_dec.shape[1]} numbers; all positions of the model together have "
            f"{rest.resid[0].numel()}."
        )
    return W_dec.detach().reshape(len(W_dec), *rest.resid.shape[1:])


def _gathered(rest: Rest, changes: Iterable[tuple[Tensor, Tensor]]) -> Effect:
    vocab = int(rest.model.cfg.d_vocab)
    rows = []
    for strings, change in changes:
        loss, answer = moved(rest, strings, change)
        rise = loss - rest.loss[strings]
        right = rest.answer[strings] == rest.wanted[strings]
        new = answer != rest.answer[strings]
        to = torch.stack(
            [torch.bincount(answer[new[:, p], p], minlength=vocab) for p in range(answer.shape[1])]
        )
        some = len(strings) > 0
        rows.append(
            Effect(
                torch.tensor(len(strings)),
                rise.mean(dim=0) if some else rise.sum(dim=0),
                rise.amax(dim=0) if some else rise.sum(dim=0),
                (right & (answer != rest.wanted[strings])).sum(dim=0),
                to,
            )
        )
    return Effect(*map(torch.stack, zip(*rows, strict=True)))


class Split(NamedTuple):
    """An effect divided into what is meant and what is not, for each latent."""

    mean: Float[Tensor, "d_sae"]
    """Change of the cross-entropy for each prediction, in nats."""
    worst: Float[Tensor, "d_sae"]
    flips: Int64[Tensor, "d_sae"]
    """Right answers that become wrong."""


def divided(effect: Effect, on_target: Bool[Tensor, "d_sae position"]) -> Split:
    """The part of an effect at some positions of each latent; 0 where a latent has none."""
    mask = on_target.to(effect.mean.dtype)
    worst = effect.worst.masked_fill(~on_target, -torch.inf).amax(dim=1)
    return Split(
        (effect.mean * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1),
        worst.masked_fill(~on_target.any(dim=1), 0.0),
        (effect.flips * on_target).sum(dim=1),
    )


def summary(
    effects: Mapping[str, Effect],
    at: Bool[Tensor, "d_sae position"],
    latents: Int64[Tensor, "chosen"],
) -> DataFrame:
    """What each intervention does to the chosen latents at some positions of each: a row by name.

    Returns:
        columns ``cases``, the pairs of a string and a latent that is changed on it; ``loss``, its
        change in nats for each prediction, mean over the latents; ``worst``, the largest rise of
        any case; ``answers lost``, right before and wrong after.
    """
    rows = {}
    for name, effect in effects.items():
        part = divided(effect, at)
        rows[name] = {
            "cases": int(effect.strings[latents].sum()),
            "loss": float(part.mean[latents].mean()),
            "worst": float(part.worst[latents].max()),
            "answers lost": int(part.flips[latents].sum()),
        }
    return DataFrame(rows.values(), index=[*rows])


def direct_logits(
    rest: Rest, W_dec: Float[Tensor, "d_sae d_in"]
) -> Float[Tensor, "d_sae position vocab"]:
    """What one unit of a latent adds to each logit, linearised: LayerNorm's scale is held fixed.

    LayerNorm centres its input and divides it by its standard deviation. The first is linear; the
    second is replaced by the mean of 1 / deviation over all strings, position by position, and of
    the result the mean over the vocabulary is taken out, which no probability depends on
    (direct logit attribution, Elhage et al. 2021).
    """
    atoms = W_dec.detach().reshape(len(W_dec), *rest.resid.shape[1:])
    norm = rest.model.ln_final
    with torch.no_grad():
        deviation = (rest.resid.var(dim=-1, unbiased=False) + rest.model.cfg.eps).sqrt()
        scaled = (atoms - atoms.mean(dim=-1, keepdim=True)) * (1 / deviation).mean(dim=0)[:, None]
        zero = torch.zeros_like(scaled)
        logits = rest.model.unembed(scaled * norm.weight) - rest.model.unembed(zero)
    return logits - logits.mean(dim=-1, keepdim=True)


class Pairs(NamedTuple):
    """All pairs of latents that fire together on some string, and what ablating both adds."""

    first: Int64[Tensor, "pair"]
    second: Int64[Tensor, "pair"]
    strings: Int64[Tensor, "pair"]
    """On how many strings both are above 0."""
    interaction: Float[Tensor, "pair position"]
    """Effect of ablating both, minus the two effects of ablating one, on the loss in nats; mean
    over these strings."""
    largest: Float[Tensor, "pair position"]
    """The largest of its absolute values on one string."""
    joint_flips: Int64[Tensor, "pair position"]
    """Answers that are right without either latent and wrong without both."""


def pairs(
    rest: Rest, latents: Float[Tensor, "strings d_sae"], W_dec: Float[Tensor, "d_sae d_in"]
) -> Pairs:
    """Ablate every pair of latents on each string on which both are above 0.

    On other strings one of the two changes nothing, and there is no interaction.

    Raises:
        ValueError: the shapes do not fit each other or the model.
    """
    atoms = _atoms(rest, latents, W_dec)
    on = (latents > 0).double()
    together = (on.T @ on).triu(diagonal=1).nonzero()
    rows = []
    for first, second in together.tolist():
        strings = ((latents[:, first] > 0) & (latents[:, second] > 0)).nonzero()[:, 0]
        one, other = (-latents[strings, j, None, None] * atoms[j] for j in (first, second))
        (loss_1, answer_1), (loss_2, answer_2), (loss, answer) = (
            moved(rest, strings, change) for change in (one, other, one + other)
        )
        extra = loss - loss_1 - loss_2 + rest.loss[strings]
        wanted = rest.wanted[strings]
        joint = (answer_1 == wanted) & (answer_2 == wanted) & (answer != wanted)
        rows.append(
            (
                torch.tensor(len(strings)),
                extra.mean(dim=0),
                extra.abs().amax(dim=0),
                joint.sum(dim=0),
            )
        )
    return Pairs(*together.T, *map(torch.stack, zip(*rows, strict=True)))
