"""One visual language: a name has one colour in the whole book, and every reader can tell it.

Colours are judged as people with each kind of cones see them (Machado, Oliveira and Fernandes
2009, severity 1), by their distance in OKLab (Ottosson 2020) times 100: from black to white is 100,
and about 2 can just be seen.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from claimbook import mime
from palindrome_lens import colours, figures
from palindrome_lens.pages.mirror import picture

ROOT = Path(__file__).parents[1]
STYLE = (ROOT / "src" / "claimbook" / "static" / "book.css").read_text(encoding="utf-8")
OKABE_ITO = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#7F7F7F"]

EYES = {
    "all cones": torch.eye(3, dtype=torch.float64),
    "no red cones": torch.tensor(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        dtype=torch.float64,
    ),
    "no green cones": torch.tensor(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        dtype=torch.float64,
    ),
}
"""What becomes of linear red, green and blue."""

LEAST_DISTANCE = 7.0
LEAST_CONTRAST = 3.0  # WCAG 2.2, success criterion 1.4.11: graphical objects


def linear(colour: str) -> Tensor:
    """Red, green and blue light of ``#RRGGBB``, each from 0 to 1."""
    stored = torch.tensor([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]).double()
    return torch.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)


def oklab(light: Tensor) -> Tensor:
    cones = torch.tensor(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ],
        dtype=torch.float64,
    )
    opponents = torch.tensor(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ],
        dtype=torch.float64,
    )
    return opponents @ (cones @ light).clamp(min=0) ** (1 / 3)


def least_distance(colours: list[str], eyes: Tensor) -> float:
    seen = [oklab(eyes @ linear(colour)) for colour in colours]
    return min(100 * float((a - b).norm()) for a, b in combinations(seen, 2))


def luminance(colour: str) -> float:
    return float(linear(colour) @ torch.tensor([0.2126, 0.7152, 0.0722], dtype=torch.float64))


def contrast(a: str, b: str) -> float:
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def grounds() -> list[str]:
    """White, and the ground of the dark theme."""
    theme = files("sphinx_book_theme") / "theme" / "sphinx_book_theme" / "static" / "styles"
    style = (theme / "sphinx-book-theme.css").read_text(encoding="utf-8")
    (dark,) = re.findall(r"data-theme=dark\]\{[^}]*--pst-color-background:(#[0-9a-f]{6})", style)
    return ["#ffffff", str(dark)]


def scale(theme: str, *names: str) -> list[str]:
    """The scale of heat maps that the style sheet has for a theme."""
    rules = STYLE.split(f'html[data-theme="{theme}"]', 1)[1].split("}")[0]
    found = dict(re.findall(r"--scale-([a-z-]+): (#[0-9a-f]{6});", rules))
    return [found[name] for name in names]


PLUS = ("ground", "tint", "depth")
MINUS = ("ground", "minus-tint", "minus-depth")


@pytest.mark.parametrize("eyes", EYES)
def test_any_two_colours_stay_apart(eyes: str) -> None:
    assert least_distance(colours.COLOURS, EYES[eyes]) >= LEAST_DISTANCE


def test_the_original_palette_would_not_do_on_both_grounds() -> None:
    """The check sees: Okabe and Ito made theirs for white paper, with black for the eighth."""
    assert least_distance(OKABE_ITO, EYES["no red cones"]) < LEAST_DISTANCE
    assert min(contrast(colour, "#ffffff") for colour in OKABE_ITO) < LEAST_CONTRAST


def test_distances_are_those_of_oklab() -> None:
    assert oklab(linear("#ffffff")).tolist() == pytest.approx([1, 0, 0], abs=1e-4)
    assert oklab(linear("#ff0000")).tolist() == pytest.approx([0.628, 0.2249, 0.1258], abs=1e-4)
    for eyes in EYES.values():
        assert (eyes @ torch.ones(3).double()).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


@pytest.mark.parametrize("colour", colours.COLOURS)
def test_every_colour_stands_out_from_a_white_and_from_a_dark_page(colour: str) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert all(contrast(colour, ground) >= LEAST_CONTRAST for ground in grounds())


@pytest.mark.parametrize("names", [PLUS, MINUS])
def test_scales_go_from_the_ground_of_the_page_to_what_stands_out_from_it(
    names: tuple[str, ...],
) -> None:
    white, dark = grounds()
    light_theme = [luminance(colour) for colour in scale("light", *names)]
    assert light_theme == sorted(light_theme, reverse=True)
    dark_theme = [luminance(colour) for colour in scale("dark", *names)]
    assert dark_theme == sorted(dark_theme)
    for theme, page in (("light", white), ("dark", dark)):
        ground, _, depth = scale(theme, *names)
        assert contrast(ground, page) < 1.25, "zero does not glare"
        assert contrast(depth, ground) > 2 * LEAST_CONTRAST


def test_the_picture_of_the_first_page_has_the_colours_of_the_positions() -> None:
    assert {str(query): colour for query, colour in picture.COLOURS.items()} == {
        query: colours.MEANING[query] for query in "456"
    }


def test_the_light_scales_are_those_of_the_notebooks() -> None:
    as_stored = [colour.lower() for _, colour in colours.SEQUENTIAL]
    assert as_stored == scale("light", *PLUS)
    as_stored = [colour.lower() for _, colour in colours.DIVERGING]
    assert as_stored == scale("light", "minus-depth", "minus-tint", *PLUS)


def test_what_is_meant_by_a_name() -> None:
    assert colours.colour_of("4 → 3") == colours.colour_of("query 4") == colours.MEANING["4"]
    assert colours.colour_of("copied at 6") == colours.colour_of("6 (mirrored)")
    assert colours.colour_of("TopK, k = 3") == colours.colour_of("TopK + L1") == colours.BLUE
    assert colours.colour_of("ReLU, L1") == colours.MEANING["ReLU"]
    assert colours.colour_of("K-SVD, 24 atoms") == colours.MEANING["K-SVD"]
    assert colours.colour_of("128 random directions") == colours.MEANING["random directions"]
    for nobody in ("4 of 64", "64", "24 atoms", "random letters", "BatchTop", ""):
        assert colours.colour_of(nobody) is None


def test_what_has_the_same_colour_in_a_figure_is_told_apart_otherwise() -> None:
    found = colours.looks(["TopK, k = 1", "TopK, k = 3", "something", "BatchTopK", "else"])
    assert found[:2] == [(colours.BLUE, 0), (colours.BLUE, 1)]
    assert len(set(found)) == 5
    assert len(set(colours.looks(map(str, range(10, 26))))) == 16
    lines = figures.lines({"0": [1.0], "1": [2.0]}, x_title="", y_title="", alt="").data
    assert [line.line.dash for line in lines] == ["solid", "dash"]
    bars = figures.bars({"0": [1.0], "1": [2.0]}, labels=["a"], x_title="", y_title="", alt="").data
    assert [bar.marker.pattern.shape for bar in bars] == ["", "/"]


def test_architectures_and_components_and_positions_do_not_share_a_colour() -> None:
    architectures = ["TopK", "BatchTopK", "Matryoshka", "JumpReLU", "Gated"]
    architectures += ["ReLU", "GELU", "sigmoid"]
    components = ["attention", "MLP", "embedding", "others", "LayerNorm"]
    for kind in (architectures, components, list("034567")):
        assert len({colours.MEANING[name] for name in kind}) == len(kind)


def series() -> Iterator[tuple[str, str, str, int]]:
    """Chapter, name, colour and number of names, for every series of every committed figure."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for output in cell.get("outputs", []):
                data = output.get("data", {}).get(mime.PLOTLY, {}).get("data", [])
                named = [trace for trace in data if "name" in trace and not _is_level(trace)]
                for trace in named:
                    yield path.stem, trace["name"], _colour(trace), len(named)


def _is_level(trace: dict[str, Any]) -> bool:
    return len(trace["x"]) == 2 and trace.get("line", {}).get("width") == colours.LEVEL_WIDTH


def _colour(trace: dict[str, Any]) -> str:
    return str((trace.get("line") or trace.get("marker") or {}).get("color"))


def test_a_name_has_one_colour_in_the_whole_book() -> None:
    colours: dict[str, set[str]] = defaultdict(set)
    for _, name, colour, among in series():
        if among > 1:
            colours[name].add(colour)
    assert len(colours) > 20
    assert {name: found for name, found in colours.items() if len(found) > 1} == {}


def test_every_series_that_is_compared_has_a_name_with_a_meaning() -> None:
    """Else its colour would mean something else in the next chapter: enter it in ``MEANING``."""
    nameless = {
        f"{chapter}: {name}"
        for chapter, name, _, among in series()
        if among > 1 and colours.colour_of(name) is None
    }
    assert nameless == set()
