"""What the latents of one dictionary are about, and what they do, in a row of numbers.

The chapter on latents looks at one dictionary. The same numbers for other seeds of the autoencoder,
for other transformers, and for transformers before their first step, are in ``verdicts.csv``, which
``python -m palindrome_lens.dictionary.verdicts`` writes in a few minutes.
"""

from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from tqdm import tqdm

from palindrome_lens.dictionary import effects, letters, rules, tables
from palindrome_lens.dictionary.effects import Rest
from palindrome_lens.dictionary.letters import Letters
from palindrome_lens.dictionary.rules import Rule
from palindrome_lens.dictionary.targets import targets_of
from palindrome_lens.sae import choosing, leaderboard, metrics, standings
from palindrome_lens.sae.autoencoders import Autoencoder
from palindrome_lens.sae.contestants import Run, Setting
from palindrome_lens.sae.leaderboard import Material, Transformer
from palindrome_lens.task import Task

FILE = Path(__file__).with_suffix(".csv")
HOOK = "blocks.0.hook_mlp_out"
TRANSFORMERS = tuple(range(10))
SEEDS = (0, 1, 2)


class Case(NamedTuple):
    """A transformer, and the seed of the autoencoder that was trained on what its MLP writes."""

    trained: bool
    """Whether the transformer is; if not, its weights are those before the first step."""
    transformer: int
    contestant: str
    level: float
    d_sae: int
    seed: int

    @property
    def run(self) -> Run:
        """The autoencoder."""
        return Run(*self[2:])


class Numbers(NamedTuple):
    """All counts are over the latents about one letter in one slot, unless it is said."""

    live: int
    """Of all latents: above 0 on some string."""
    exact: int
    """Of all live latents: above 0 on the strings of the shortest rule and on no other."""
    single: int
    """Latents about one letter in one slot."""
    pairs: int
    """Different pairs of a letter and a slot among them."""
    fired: int
    """Pairs of a string and a latent that is above 0 on it: each is one case of an ablation."""
    lost: int
    """Right answers at their queries that are wrong without the latent, one latent at a time."""
    lost_elsewhere: int
    """The same at the bar, the end, and the queries of other slots."""
    random_lost: int
    """As ``lost``, for random directions that are as long at each position."""
    random_elsewhere: int
    idle: int
    """Latents without which no answer is lost at their query."""
    random_idle: int
    complete: int
    """Latents without which all answers with their letter are lost, and no other at the query."""
    random_complete: int
    agree: int
    """Latents without which most answers survive exactly if most survive with the whole MLP at its
    mean."""
    agree_by_chance: float
    """How many would agree if the two had nothing to do with each other."""
    error_kept: int
    """As ``lost``, taken from the activation itself instead of the reconstruction."""
    stretched: int
    """The same, the latents divided by the shrinkage of the reconstruction."""
    swap_cases: int
    """Pairs of a string and a latent that is off on it."""
    swapped: float
    """Share of the cases in which a latent, swapped in, makes its query answer its letter."""
    rivals_on: float
    """The same with the other letters of the slot left on."""
    nothing: float
    """The same with those off, and the latent itself left off."""
    raised: int
    """Latents that raise the logit of their letter most at their query, read off the weights."""
    random_raised: int


class Seen(NamedTuple):
    """One dictionary on all strings, and what was read off it."""

    material: Material
    sae: Autoencoder
    latents: Float[Tensor, "strings d_sae"]
    rebuilt: Float[Tensor, "strings d_in"]
    rules: dict[int, Rule]
    """Of every latent that fires."""
    rest: Rest
    """The model with the reconstruction in place."""
    chosen: Letters

    @property
    def W_dec(self) -> Float[Tensor, "d_sae d_in"]:
        return self.sae.W_dec.detach()


def look(case: Case) -> Seen:
    """Encode all strings, and read the shortest rule off every latent that fires."""
    transformer = Transformer(case.transformer, case.trained)
    material = leaderboard.material(transformer)
    sae = leaderboard.autoencoder(case.run, transformer)
    with torch.no_grad():
        latents = sae.encode(material.x)
        rebuilt = sae.decode(latents)
    fires = latents > 0
    live = fires.any(dim=0).nonzero()[:, 0].tolist()
    read_off = {latent: rules.shortest(Task(), fires[:, latent]) for latent in live}
    rest = effects.rest_of(material.model, material.tokens, HOOK, rebuilt)
    chosen = letters.letter_latents(Task(), read_off)
    return Seen(material, sae, latents, rebuilt, read_off, rest, chosen)


def measure(case: Case) -> Numbers:
    """All numbers of a case; random directions are drawn with the autoencoder's seed."""
    task, seen = Task(), look(case)
    chosen, agreed = seen.chosen, survivors(seen)
    at_random = letters.alike_at_random(seen.rest, seen.W_dec, case.seed)
    raised, random_raised = (
        int(letters.raised_most(task, seen.rest, directions, chosen).sum())
        for directions in (seen.W_dec, at_random)
    )
    whole = effects.rest_of(seen.material.model, seen.material.tokens, HOOK)
    stretch = 1 / metrics.shrinkage(seen.material.x, seen.rebuilt)
    error_kept, stretched = (
        int(letters.answers_lost(whole, factor * seen.latents, seen.W_dec, chosen).sum())
        for factor in (1.0, stretch)
    )
    levels = effects.mean_firing(seen.latents)
    swaps = letters.swapped(task, seen.rest, seen.latents, seen.W_dec, chosen, levels)
    swap_cases = int(swaps.cases.sum())
    return Numbers(
        live=len(seen.rules),
        exact=sum(rule.exact for rule in seen.rules.values()),
        single=len(chosen.latents),
        pairs=len(set(zip(chosen.slots.tolist(), chosen.letters.tolist(), strict=True))),
        fired=int((seen.latents[:, chosen.latents] > 0).sum()),
        **_ablated(task, seen, at_random),
        agree=agreed.agree,
        agree_by_chance=agreed.by_chance,
        error_kept=error_kept,
        stretched=stretched,
        swap_cases=swap_cases,
        swapped=int(swaps.alone.sum()) / swap_cases,
        rivals_on=int(swaps.with_rivals.sum()) / swap_cases,
        nothing=int(swaps.nothing.sum()) / swap_cases,
        raised=raised,
        random_raised=random_raised,
    )


def _ablated(task: Task, seen: Seen, at_random: Float[Tensor, "d_sae d_in"]) -> dict[str, int]:
    """What is lost without a latent, and without a random direction, on target and elsewhere."""
    chosen, targets = seen.chosen, targets_of(task, seen.rules, len(seen.W_dec))
    numbers: dict[str, int] = {}
    for prefix, directions in (("", seen.W_dec), ("random_", at_random)):
        effect = effects.ablate(seen.rest, seen.latents, directions)
        on, off = (effects.divided(effect, mask).flips[chosen.latents] for mask in targets)
        lost = letters.answers_lost(seen.rest, seen.latents, directions, chosen)
        numbers |= {
            f"{prefix}lost": int(on.sum()),
            f"{prefix or 'lost_'}elsewhere": int(off.sum()),
            f"{prefix}complete": int((lost == chosen.has).all(dim=1).sum()),
            f"{prefix}idle": int((~lost.any(dim=1)).sum()),
        }
    return numbers


class Survivors(NamedTuple):
    """Which letters are mostly still answered, in two ways of taking something away."""

    lost: Bool[Tensor, "single string"]
    """Where the answer is right, and wrong without the latent."""
    without_latent: Float[Tensor, "single"]
    """Share of the strings with the letter that are answered without its latent."""
    without_mlp: Float[Tensor, "single"]
    """The same with the whole MLP at its mean."""
    attention_alone: float
    """Share of all mirrored letters that are answered then."""
    agree: int
    by_chance: float


def survivors(seen: Seen) -> Survivors:
    """Compare the letters that survive without their latent with those that survive the MLP's."""
    chosen, x = seen.chosen, seen.material.x
    lost = letters.answers_lost(seen.rest, seen.latents, seen.W_dec, chosen)
    empty = effects.rest_of(seen.material.model, seen.material.tokens, HOOK, x.mean(0).expand_as(x))
    shares = letters.still_answered(lost, chosen), letters.answered(empty, chosen)
    mostly = torch.stack([share > 0.5 for share in shares])  # way, single
    chance = mostly.double().mean(dim=1)
    agree = int((mostly[0] == mostly[1]).sum())
    by_chance = float((chance.prod() + (1 - chance).prod()) * len(chosen.latents))
    mirrored = list(Task().mirrored_positions)
    alone = (empty.answer == empty.wanted)[:, mirrored].double().mean()
    return Survivors(lost, *shares, float(alone), agree, by_chance)


def cases(setting: Setting) -> list[Case]:
    """All cases of the table: trained transformers with every seed, untrained ones with one."""
    every = [
        *product((True,), TRANSFORMERS, SEEDS),
        *product((False,), TRANSFORMERS, SEEDS[:1]),
    ]
    return [Case(trained, transformer, *setting, seed) for trained, transformer, seed in every]


def read() -> dict[Case, Numbers]:
    """The table that the command wrote."""
    return tables.read(FILE, Case, Numbers)


if __name__ == "__main__":
    torch.set_num_threads(1)
    chosen_setting = choosing.without_labels(standings.read())
    tables.write(FILE, {c: measure(c) for c in tqdm(cases(chosen_setting), disable=None)})
    print(f"wrote {FILE.name}")
