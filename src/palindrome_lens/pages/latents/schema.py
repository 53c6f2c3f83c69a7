"""What a notebook stores for the page that browses latents: one card for each, as JSON."""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

from palindrome_lens.task import Task

MIME = "application/vnd.palindrome-lens.latents.v1+json"

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
