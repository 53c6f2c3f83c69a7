"""The picture of the first page and of the README, drawn from the claims."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from palindrome_lens.claims import Claim

STRING = "<abc|cba>"
ARROWS = {4: 3, 5: 2, 6: 1}
"""The query positions and their mirror positions, for half-length 3."""
STEP, LEFT, BASE = 72, 60, 210


def draw(claims: Iterable[Claim], path: Path) -> None:
    """Write the picture, where the claims that it is drawn from are stated."""
    weights = {stated.id: stated for stated in claims}
    wanted = {query: f"attention.least-{query}" for query in ARROWS}
    if weights.keys() >= set(wanted.values()):
        least = {query: weights[id] for query, id in wanted.items()}
        path.write_text(mirror_svg(least), encoding="utf-8")


def mirror_svg(least: Mapping[int, Claim]) -> str:
    """``<abc|cba>`` with an arrow from each query position to its mirror position.

    The number on an arrow, and its width, is the least attention weight on any string. The picture
    brings its own light ground, so that it reads on any page.
    """
    cells = [_cell(position, character) for position, character in enumerate(STRING)]
    arrows = [_arrow(query, key, least[query]) for query, key in ARROWS.items()]
    width = 2 * LEFT + STEP * (len(STRING) - 1)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 270" '
            'font-family="system-ui, sans-serif" text-anchor="middle">',
            f'<rect width="{width}" height="270" rx="10" fill="#f7f9fc"/>',
            '<defs><marker id="head" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="12" '
            'markerHeight="12" markerUnits="userSpaceOnUse" orient="auto">'
            '<path d="M0 0 8 4 0 8z" fill="#0072B2"/></marker></defs>',
            *cells,
            *arrows,
            "</svg>",
            "",
        ]
    )


def _cell(position: int, character: str) -> str:
    x = LEFT + STEP * position
    escaped = {"<": "&lt;", ">": "&gt;"}.get(character, character)
    return (
        f'<rect x="{x - 24}" y="{BASE - 26}" width="48" height="48" rx="6" '
        'fill="#fff" stroke="#5b6b7d"/>'
        f'<text x="{x}" y="{BASE + 6}" font-size="26" fill="#1a2433" '
        f'font-family="monospace">{escaped}</text>'
        f'<text x="{x}" y="{BASE + 44}" font-size="14" fill="#44505f">{position}</text>'
    )


def _arrow(query: int, key: int, least: Claim) -> str:
    start, end, top = LEFT + STEP * query, LEFT + STEP * key, BASE - 34
    middle, rise = (start + end) / 2, 54 + 22 * (query - key)
    crest = top - 0.75 * rise
    return (
        f'<path d="M{start} {top}C{start} {top - rise} {end} {top - rise} {end} {top}" fill="none" '
        f'stroke="#0072B2" stroke-width="{3 * least.value:.2f}" marker-end="url(#head)"/>'
        f'<rect x="{middle - 28}" y="{crest - 11}" width="56" height="20" rx="4" fill="#f7f9fc"/>'
        f'<text x="{middle}" y="{crest + 5}" font-size="15" fill="#1a2433">{least.text}</text>'
    )
