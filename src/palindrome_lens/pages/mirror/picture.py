"""The picture of the first page and of the README, drawn from the claims.

The claims say which positions look back, and so how long the strings are.
"""

import re
from collections.abc import Iterable, Mapping
from html import escape
from string import ascii_lowercase

from claimbook.claims import Claim
from claimbook.pictures import Picture

CLAIM = re.compile(r"attention\.least-(\d+)")
COLOURS = {4: "#0C9D73", 5: "#685FD1", 6: "#C3840F"}
"""Of the query positions; those of every figure of the book (a test compares them). In longer
strings they come again."""

STEP, LEFT, TILE = 60, 40, 48
LOWEST_RISE, RISE, ABOVE = 30, 40, 28
"""Of the arrows: how high the flattest bows, by how much more for each position, what is above."""

LIGHT = "--ink:#1f2933;--quiet:#52606d;--tile:#ffffff;--edge:#8a94a2;--page:#f7f9fc"
DARK = "--ink:#eef2f6;--quiet:#b6c0cc;--tile:#222832;--edge:#8a94a2;--page:#121212"
STYLE = f"""
.mirror{{{LIGHT}}}
@media (prefers-color-scheme:dark){{.mirror{{{DARK}}}}}
[data-theme] .mirror{{{LIGHT};--page:var(--pst-color-background)}}
[data-theme=dark] .mirror{{{DARK};--page:var(--pst-color-background)}}
.mirror text{{fill:var(--ink);font:20px system-ui,sans-serif;text-anchor:middle}}
.mirror .quiet{{fill:var(--quiet);font-size:17px}}
.mirror .tile text{{font:600 27px ui-monospace,monospace}}
.mirror .tile rect{{fill:var(--tile);stroke:var(--edge);stroke-width:1.5}}
.mirror .pill,.mirror .ground{{fill:var(--page)}}
.mirror path{{fill:none;stroke-linecap:round}}
"""
"""The picture follows the theme of its page, and brings its own ground where it is alone."""


def picture(claims: Iterable[Claim]) -> Picture | None:
    """The picture and its words, where the claims that it is drawn from are stated."""
    least = least_weights(claims)
    return Picture(mirror_svg(least), alternative(least)) if least else None


def least_weights(claims: Iterable[Claim]) -> dict[int, Claim]:
    """The claims about each query position; none, unless all are stated."""
    named = [(CLAIM.fullmatch(claim.id), claim) for claim in claims]
    stated = {int(match[1]): claim for match, claim in named if match}
    return stated if stated and stated.keys() == arrows(len(stated)).keys() else {}


def arrows(half: int) -> dict[int, int]:
    """The query positions and their mirror positions, for a half-length."""
    return {query: 2 * half + 1 - query for query in range(half + 1, 2 * half + 1)}


def string(half: int) -> str:
    """The string that is shown: the first letters, from the beginning if they end."""
    letters = "".join(ascii_lowercase[i % len(ascii_lowercase)] for i in range(half))
    return f"<{letters}|{letters[::-1]}>"


def top(half: int) -> int:
    """Where the tiles begin: below the arrow that bows highest."""
    return int(ABOVE + 0.75 * _rise(2 * half - 1))


def colour(query: int) -> str:
    """The colour of a query position."""
    return COLOURS.get(query) or list(COLOURS.values())[query % len(COLOURS)]


def _rise(across: int) -> int:
    return LOWEST_RISE + RISE * across


def alternative(least: Mapping[int, Claim]) -> str:
    """What is to be seen, in words."""
    looks = ", ".join(
        f"from {query} to {key} with a weight of at least {least[query].text}"
        for query, key in arrows(len(least)).items()
    )
    shown = string(len(least))
    written = ", ".join(shown[query + 1] for query in least)
    return (
        f"The string {shown} in tiles. Arrows lead back to the mirror position: {looks}, "
        f"on all of {least[min(least)].denominator}. A short arrow from each of these positions "
        f"leads to the letter that is written next: {written}."
    )


def mirror_svg(least: Mapping[int, Claim]) -> str:
    """``<abc|cba>``, or longer: where the head looks from each query position, and what it writes.

    The number on an arrow, and its width, is the least attention weight on any string.
    """
    half, first = len(least), min(least)
    count, _, cases = least[first].denominator.partition(" ")
    width, height = 2 * LEFT + STEP * (2 * half + 2), top(half) + TILE + 64
    notes = ["least weight", f"on any of {count}", cases]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="mirror" role="img" '
            f'aria-label="{escape(alternative(least))}" viewBox="0 0 {width} {height}">',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{width}" height="{height}" rx="10"/>',
            *(_head(query) for query in least),
            *(_tile(half, position) for position in range(2 * half + 3)),
            *(_look(half, query, least[query]) for query in least),
            *(_write(half, query) for query in least),
            *(_note(width - 82, 34 + 22 * i, line) for i, line in enumerate(notes)),
            _note(66, 34, "looks back"),
            _note(_middle(first) - 42, top(half) + TILE + 26, "writes"),
            "</svg>",
            "",
        ]
    )


def _middle(position: int) -> int:
    return LEFT + STEP * position


def _note(x: int, y: int, text: str) -> str:
    return f'<text class="quiet" x="{x}" y="{y}">{text}</text>'


def _head(query: int) -> str:
    return (
        f'<marker id="head-{query}" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="14" '
        'markerHeight="14" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" style="fill:{colour(query)}"/></marker>'
    )


def _tile(half: int, position: int) -> str:
    """A character; a letter that is looked at or written has the colour of who does it."""
    by = {place: query for query, key in arrows(half).items() for place in (key, query + 1)}
    x, y, character = _middle(position), top(half), string(half)[position]
    tone = colour(by[position]) if position in by else ""
    box = f'x="{x - TILE // 2}" y="{y}" width="{TILE}" height="{TILE}" rx="8"'
    tint = f'<rect {box} style="fill:{tone};fill-opacity:.16;stroke:{tone}"/>' if tone else ""
    return (
        f'<g class="tile"><rect {box}/>{tint}<text x="{x}" y="{y + 33}">{escape(character)}'
        f'</text></g><text class="quiet" x="{x}" y="{y + TILE + 56}">{position}</text>'
    )


def _look(half: int, query: int, least: Claim) -> str:
    key = arrows(half)[query]
    start, end, low = _middle(query), _middle(key), top(half) - 6
    rise = _rise(query - key)
    middle, crest = (start + end) // 2, low - 0.75 * rise
    # On the narrowest arrow the number has no room: it stands above.
    height = crest if query - key > 1 else crest - 18
    return (
        f'<path d="M{start} {low}C{start} {low - rise} {end} {low - rise} {end} {low}" '
        f'stroke="{colour(query)}" stroke-width="{3.5 * least.value:.2f}" '
        f'marker-end="url(#head-{query})"/>'
        f'<rect x="{middle - 36}" y="{height - 13}" width="72" height="26" rx="6" class="pill"/>'
        f'<text x="{middle}" y="{height + 7}">{least.text}</text>'
    )


def _write(half: int, query: int) -> str:
    start, end, high = _middle(query) + 8, _middle(query + 1) - 8, top(half) + TILE + 4
    return (
        f'<path d="M{start} {high}C{start + 6} {high + 24} {end - 6} {high + 24} {end} {high + 2}" '
        f'stroke="{colour(query)}" stroke-width="2" marker-end="url(#head-{query})"/>'
    )
