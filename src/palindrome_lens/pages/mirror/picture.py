"""The picture of the first page and of the README, drawn from the claims."""

from collections.abc import Iterable, Mapping
from html import escape

from claimbook.claims import Claim
from claimbook.pictures import Picture

STRING = "<abc|cba>"
ARROWS = {4: 3, 5: 2, 6: 1}
"""The query positions and their mirror positions, for half-length 3."""
COLOURS = {4: "#0C9D73", 5: "#685FD1", 6: "#C3840F"}
"""Of the query positions; those of every figure of the book (a test compares them)."""

STEP, LEFT, TOP, TILE = 60, 40, 200, 48
WIDTH, HEIGHT = 2 * LEFT + STEP * (len(STRING) - 1), TOP + TILE + 64

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
    stated = {claim.id: claim for claim in claims}
    wanted = {query: stated.get(f"attention.least-{query}") for query in ARROWS}
    return {query: claim for query, claim in wanted.items() if claim and all(wanted.values())}


def alternative(least: Mapping[int, Claim]) -> str:
    """What is to be seen, in words."""
    looks = ", ".join(
        f"from {query} to {key} with a weight of at least {least[query].text}"
        for query, key in ARROWS.items()
    )
    written = ", ".join(STRING[query + 1] for query in ARROWS)
    return (
        f"The string {STRING} in tiles. Arrows lead back to the mirror position: {looks}, "
        f"on all of {least[4].denominator}. A short arrow from each of these positions leads to "
        f"the letter that is written next: {written}."
    )


def mirror_svg(least: Mapping[int, Claim]) -> str:
    """``<abc|cba>``: where the head looks from each query position, and what is then written.

    The number on an arrow, and its width, is the least attention weight on any string.
    """
    count, _, cases = least[4].denominator.partition(" ")
    notes = ["least weight", f"on any of {count}", cases]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" class="mirror" role="img" '
            f'aria-label="{escape(alternative(least))}" viewBox="0 0 {WIDTH} {HEIGHT}">',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}" rx="10"/>',
            *(_head(query) for query in ARROWS),
            *(_tile(position, character) for position, character in enumerate(STRING)),
            *(_look(query, key, least[query]) for query, key in ARROWS.items()),
            *(_write(query) for query in ARROWS),
            *(_note(WIDTH - 82, 34 + 22 * i, line) for i, line in enumerate(notes)),
            _note(66, 34, "looks back"),
            _note(_middle(4) - 42, TOP + TILE + 26, "writes"),
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
        f'<path d="M0 0 8 4 0 8z" style="fill:{COLOURS[query]}"/></marker>'
    )


def _tile(position: int, character: str) -> str:
    """A character; a letter that is looked at or written has the colour of who does it."""
    by = {place: query for query, key in ARROWS.items() for place in (key, query + 1)}
    x, colour = _middle(position), COLOURS.get(by.get(position, -1))
    box = f'x="{x - TILE // 2}" y="{TOP}" width="{TILE}" height="{TILE}" rx="8"'
    tint = f'<rect {box} style="fill:{colour};fill-opacity:.16;stroke:{colour}"/>' if colour else ""
    return (
        f'<g class="tile"><rect {box}/>{tint}<text x="{x}" y="{TOP + 33}">{escape(character)}'
        f'</text></g><text class="quiet" x="{x}" y="{HEIGHT - 8}">{position}</text>'
    )


def _look(query: int, key: int, least: Claim) -> str:
    start, end, top = _middle(query), _middle(key), TOP - 6
    rise = 30 + 40 * (query - key)
    middle, crest = (start + end) // 2, top - 0.75 * rise
    # On the narrowest arrow the number has no room: it stands above.
    height = crest if query - key > 1 else crest - 18
    return (
        f'<path d="M{start} {top}C{start} {top - rise} {end} {top - rise} {end} {top}" '
        f'stroke="{COLOURS[query]}" stroke-width="{3.5 * least.value:.2f}" '
        f'marker-end="url(#head-{query})"/>'
        f'<rect x="{middle - 36}" y="{height - 13}" width="72" height="26" rx="6" class="pill"/>'
        f'<text x="{middle}" y="{height + 7}">{least.text}</text>'
    )


def _write(query: int) -> str:
    start, end, top = _middle(query) + 8, _middle(query + 1) - 8, TOP + TILE + 4
    return (
        f'<path d="M{start} {top}C{start + 6} {top + 24} {end - 6} {top + 24} {end} {top + 2}" '
        f'stroke="{COLOURS[query]}" stroke-width="2" marker-end="url(#head-{query})"/>'
    )
