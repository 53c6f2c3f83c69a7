"""What the book makes of figures, widgets, claims and formulas."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from docutils import nodes
from docutils.utils import new_document
from docutils.utils.math import MathError
from sphinx import addnodes

from claimbook import mime
from claimbook.claims import claim
from claimbook.markup import claim_markup, mathml, renderers, sphinx_ext

FIGURE = {"data": [{"type": "scatter", "y": [1, 2]}], "layout": {"meta": {"alt": "A line."}}}
WIDGET = {"component": "ColoredTokens", "props": {"tokens": ["a"]}, "alt": "Tokens."}


class Renderer:
    """Stands in for the renderer of myst-nb, and keeps what is warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.logger = SimpleNamespace(warning=self._warn)

    def _warn(self, message: str, **_: object) -> None:
        self.warnings.append(message)


def rendered(plugin: Any, mime: str, content: Any) -> tuple[Any, list[str]]:
    renderer = Renderer()
    data = SimpleNamespace(mime_type=mime, content=content, line=1)
    return plugin.handle_mime(renderer, data, False), renderer.warnings


def test_a_figure_becomes_a_node_with_its_json_and_its_words() -> None:
    (figure,), warnings = rendered(renderers.Plotly, mime.PLOTLY, FIGURE)
    assert warnings == []
    assert (figure["kind"], figure["alt"]) == ("plotly", "A line.")
    assert json.loads(figure["spec"]) == FIGURE


def test_a_widget_becomes_a_node_with_its_json_and_its_words() -> None:
    (figure,), warnings = rendered(renderers.CircuitsVis, mime.CIRCUITSVIS, WIDGET)
    assert warnings == []
    assert (figure["kind"], figure["alt"]) == ("circuitsvis", "Tokens.")
    assert json.loads(figure["spec"]) == WIDGET


@pytest.mark.parametrize(
    ("plugin", "mime", "content"),
    [
        (renderers.Plotly, mime.PLOTLY, {"data": [], "layout": {}}),
        (renderers.Plotly, mime.PLOTLY, {"data": [], "layout": {"meta": "text"}}),
        (renderers.CircuitsVis, mime.CIRCUITSVIS, {"component": "Hello", "props": {}}),
    ],
)
def test_a_figure_without_words_is_warned_of(plugin: Any, mime: str, content: Any) -> None:
    _, warnings = rendered(plugin, mime, content)
    assert len(warnings) == 1
    assert "no text for who cannot see it" in warnings[0]


def test_a_figure_that_json_cannot_hold_is_warned_of_and_left_out() -> None:
    content = {**FIGURE, "data": [{"y": [float("nan")]}]}
    figures, warnings = rendered(renderers.Plotly, mime.PLOTLY, content)
    assert figures == []
    assert "NaN" in warnings[0]


@pytest.mark.parametrize("plugin", [renderers.Plotly, renderers.CircuitsVis, renderers.ClaimCard])
def test_other_outputs_are_left_to_others(plugin: Any) -> None:
    assert rendered(plugin, "text/plain", "x") == (None, [])


def test_nothing_in_a_figure_can_end_its_script_element() -> None:
    spec = json.dumps({"text": "</script><script>alert(1)</script><!--"})
    html = renderers.figure_html("plotly", spec, 'a "quoted" <alt>')
    inside = html.split('<script type="application/json">')[1].split("</script>")[0]
    assert json.loads(inside) == json.loads(spec)
    assert html.count("<script") == 1
    assert "<!--" not in html
    assert 'aria-label="a &quot;quoted&quot; &lt;alt&gt;"' in html


@pytest.mark.parametrize("kind", ["plotly", "circuitsvis"])
def test_a_figure_has_controls_and_is_a_group_and_not_one_picture(kind: str) -> None:
    html = renderers.figure_html(kind, '{"data": []}', "A matrix.")
    assert f'class="{kind}-figure" role="group" aria-label="A matrix."' in html


def test_builders_without_scripts_get_the_words() -> None:
    document = new_document("page")
    document += renderers.InteractiveFigure("", kind="plotly", spec="{}", alt="A line.")
    assert renderers.figure_kinds(document) == {"plotly"}
    renderers.replace_figures_by_text(document)
    assert document.astext() == "[Figure: A line.]"
    assert renderers.figure_kinds(document) == set()


FLOOR = claim("data.floor", "At least {value} nats.", 1.22179, on=17576, control="counted")


def parsed(text: str) -> list[nodes.Node]:
    return [nodes.paragraph("", text)]


def test_a_claim_card_says_what_the_number_was_checked_on() -> None:
    text = claim_markup.claim_card(FLOOR, parsed).astext()
    for part in ("At least **1.222** nats.", "17,576 strings", "± 0.001222", "counted"):
        assert part in text


def test_only_the_entry_carries_the_id_and_other_cards_refer_to_it() -> None:
    entry = claim_markup.claim_card(FLOOR, parsed, entry=True)
    card = claim_markup.claim_card(FLOOR, parsed)
    assert entry["ids"] == ["data.floor"]
    assert card["ids"] == []
    (reference,) = card.findall(addnodes.pending_xref)
    assert (reference["reftype"], reference["reftarget"]) == ("claim", "data.floor")


@pytest.mark.parametrize(
    ("place", "value", "tolerance", "words"),
    [
        ("{value:,}", 3, None, "exact"),
        ("{value:%}", 0.5, 0.001, "± 0.1 percentage points"),
        ("{value}", 2.0, 0.25, "± 0.25"),
    ],
)
def test_tolerance_in_words(place: str, value: float, tolerance: float, words: str) -> None:
    stated = claim("a.b", place, value, on=1, control="c", tolerance=tolerance)
    assert claim_markup.tolerance(stated) == words


@pytest.mark.parametrize(
    "tex",
    [
        r"\frac{3\log 26}{8} \approx 1.22",
        r"\sum_{i=1}^{n} \hat{x}_i",
        r"\operatorname{softmax}\left(\frac{QK^\top}{\sqrt{d_\mathrm{head}}}\right)",
        r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}",
        r"\begin{cases} 1 & \text{if } x > 0 \\ 0 & \text{otherwise} \end{cases}",
        r"\begin{align} a &= b \\ c &= \tfrac{1}{2} \end{align}",
        r"\begin{aligned} a &= \mathbb E[\log p] \\ b &= \lVert x \rVert_2 \end{aligned}",
        r"a, \dots, z",
    ],
)
def test_the_formulas_of_the_book_can_be_written(tex: str) -> None:
    markup = mathml.to_mathml(tex, block=True)
    assert markup.startswith("<math alttext=")
    assert markup.rstrip().endswith("</math>")


@pytest.mark.parametrize("tex", [r"\unknowncommand{x}", r"\begin{tikzcd} a \end{tikzcd}"])
def test_a_formula_that_cannot_be_written_is_an_error(tex: str) -> None:
    with pytest.raises(MathError):
        mathml.to_mathml(tex)


def compact(tex: str) -> str:
    return "".join(mathml.to_mathml(tex).split())


def test_the_subscript_of_an_accented_letter_stands_beside_it() -> None:
    for tex in (r"\hat x_i", r"\hat{x}_i", r"\bar{\theta}_k", r"\overline{x + \hat y_j}"):
        assert "<munder" not in compact(tex)
        assert "<msub>" in compact(tex)


def test_norms_grow_only_where_it_is_asked_for() -> None:
    assert "<mo" not in compact(r"\lVert x \rVert_2")
    assert compact(r"\left\lVert x \right\rVert").count("<mo>‖</mo>") == 2


def test_function_names_stand_apart_from_letters_but_not_from_brackets() -> None:
    assert compact(r"3\log 26").count("<mspace") == 2
    assert compact(r"a\log_2 p").count("<mspace") == 2
    assert "<mspace" not in compact(r"\log(x)")


@pytest.mark.parametrize(
    ("asset", "local"),
    [
        ("_static/book.css", True),
        (SimpleNamespace(filename="_static/figures.js"), True),
        (SimpleNamespace(filename=None), True),
        ("https://example.invalid/a.js", False),
        ("//example.invalid/a.css", False),
        (SimpleNamespace(filename="http://example.invalid/a.js"), False),
    ],
)
def test_only_assets_of_the_book_are_local(asset: Any, local: bool) -> None:
    assert sphinx_ext.is_local(asset) is local
