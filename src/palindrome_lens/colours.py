"""What each colour stands for: in every chapter alike, by the name of a series."""

import re
from collections import Counter
from collections.abc import Iterable

BLUE, VERMILION, GREEN, PINK = "#276EA2", "#C94E07", "#0C9D73", "#CB77A8"
ORANGE, SKY, VIOLET, GREY = "#C3840F", "#5996D8", "#685FD1", "#6C7276"
COLOURS = [BLUE, VERMILION, GREEN, ORANGE, VIOLET, PINK, SKY, GREY]
"""Okabe and Ito's palette (2008), moved until each colour stands out from a white and from a dark
page (3:1), and each two stay apart for readers who lack the red or the green cones."""
LEVEL, LEVEL_WIDTH = GREY, 1.5
"""Reference levels: what was not measured but is compared with. Always broken lines."""
MEANING = {
    # Components of the model, and the circuits that hold them.
    **dict.fromkeys(("attention", "mirror", "looking"), BLUE),
    **dict.fromkeys(("MLP", "mlp", "copying"), VERMILION),
    **dict.fromkeys(("embedding", "direct"), SKY),
    **dict.fromkeys(("others", "other keys"), ORANGE),
    **dict.fromkeys(("LayerNorm", "ln1", "ln2", "ln_final"), PINK),
    "reading": ORANGE,
    "writing": VERMILION,
    "both": GREEN,
    "neither": GREY,
    # Positions: free letters, the bar, the three letters to be copied, the end. A query and its
    # mirror position are one thing.
    **dict.fromkeys("012", GREY),
    **dict(zip("34567", (SKY, GREEN, VIOLET, ORANGE, PINK), strict=True)),
    # Autoencoders by architecture.
    "TopK": BLUE,
    "BatchTopK": SKY,
    "Matryoshka": VIOLET,
    "JumpReLU": GREEN,
    "Gated": ORANGE,
    "ReLU": VERMILION,
    "GELU": GREY,
    "sigmoid": PINK,
    # Other dictionaries, learned and not.
    "autoencoder": BLUE,
    "K-SVD": VERMILION,
    "reference": GREEN,
    "neurons": PINK,
    "raw numbers": ORANGE,
    "PCA": VERMILION,
    "ICA": VIOLET,
    "random directions": GREY,
    # What is done to a latent.
    "ablated": VERMILION,
    "at its mean": SKY,
    "at its largest": ORANGE,
    "swapped in": GREEN,
    # What an analysis is made of, and its twins that should fail.
    "trained": BLUE,
    "untrained": ORANGE,
    "shuffled": PINK,
    # How many letters an effect needs.
    "one letter": BLUE,
    "two letters": ORANGE,
    "three letters": PINK,
    # This book beside other packages; what is measured at several sizes.
    **dict.fromkeys(("this book", "batch"), BLUE),
    **dict.fromkeys(("SAELens", "HookedTransformer"), ORANGE),
    **dict.fromkeys(("dictionary_learning", "TransformerBridge"), GREEN),
    "sparsify": PINK,
    # Splits, recipes, verdicts.
    "random split": BLUE,
    "ordered split": VERMILION,
    "original recipe": VERMILION,
    "right": GREEN,
    "wrong": VERMILION,
    # The line from a donor's value to a string's own, and models with and without LayerNorm.
    "lead": VIOLET,
    "own end": VERMILION,
    "donor end": BLUE,
    "with LayerNorm": PINK,
    "without LayerNorm": BLUE,
    # Counts, where nothing is compared.
    "strings": BLUE,
}
"""Which colour stands for what, by the name of the series."""
POSITION = re.compile(r"(?:query |position |attention at |copied at )?([0-7])(?: → \d| \(\w+\))?")
"""Names of series that belong to one position: ``4 → 3``, ``query 5``, ``copied at 6``."""
GROUND, TINT, DEPTH = "#F3F6F9", "#7DB1DC", "#174A73"
SEQUENTIAL = [(0, GROUND), (0.5, TINT), (1, DEPTH)]
DIVERGING = [(0, "#8A3303"), (0.25, "#EBA57F"), (0.5, GROUND), (0.75, TINT), (1, DEPTH)]
"""The scales of heat maps; in the dark theme ``figures.js`` puts others in their place."""
DASHES = ["solid", "dash", "dot", "dashdot"]
SYMBOLS = ["circle", "diamond-open", "square", "x-open"]
PATTERNS = ["", "/", ".", "x"]
"""What tells series of the same colour apart in one figure: in lines, points, and bars."""


def colour_of(name: str) -> str | None:
    """What the name stands for, as a colour.

    ``TopK, k = 3`` and ``TopK + L1`` are ``TopK``; of ``random directions`` the number is ignored.
    """
    uncounted = re.sub(r"^\d+ ", "", name)
    if uncounted in MEANING:
        return MEANING[uncounted]
    position = POSITION.fullmatch(name)
    first_word = re.split(r"[^A-Za-z-]", name)[0]
    return MEANING.get(position[1] if position else first_word)


def looks(names: Iterable[str]) -> list[tuple[str, int]]:
    """The colour of each series, and how many before it in the same figure have that colour.

    Names without a meaning take the colours that no other series of the figure has, in order.
    """
    names = list(names)
    by_meaning = {name: colour_of(name) for name in names}
    free = [colour for colour in COLOURS if colour not in by_meaning.values()] or COLOURS
    unknown = [name for name in names if by_meaning[name] is None]
    drawn = {name: free[i % len(free)] for i, name in enumerate(unknown)}
    before: Counter[str] = Counter()
    pairs = []
    for name in names:
        colour = by_meaning[name] or drawn[name]
        pairs.append((colour, before[colour]))
        before[colour] += 1
    return pairs
