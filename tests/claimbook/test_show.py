"""What a notebook stores: the same from run to run, and nothing random."""

import json
import re
from collections.abc import Iterator

import plotly.io
import pytest
import torch
from circuitsvis.attention import attention_pattern
from circuitsvis.utils.render import RenderedHTML
from pandas import DataFrame

from claimbook import mime
from claimbook.show import Described, Table, set_up, widget_bundle


@pytest.fixture
def settings() -> Iterator[None]:
    renderer = plotly.io.renderers.default
    yield
    plotly.io.renderers.default = renderer


def widget() -> RenderedHTML:
    weights = torch.tensor([[1.0, 0.0], [0.123456789, 0.876543211]])
    return attention_pattern(tokens=["<", "a"], attention=weights)


def test_a_widget_is_stored_as_its_component_and_its_data() -> None:
    payload = widget_bundle(widget(), "Who attends to whom.")[mime.CIRCUITSVIS]
    assert payload == {
        "component": "AttentionPattern",
        "props": {"tokens": ["<", "a"], "attention": [[1.0, 0.0], [0.1235, 0.8765]]},
        "alt": "Who attends to whom.",
    }


def test_a_widget_is_stored_the_same_twice_and_without_its_random_id() -> None:
    first, second = widget(), widget()
    (random_id,) = re.findall(r'id="(circuits-vis-[^"]+)"', first.cdn_src)
    assert random_id not in second.cdn_src
    assert widget_bundle(first) == widget_bundle(second)
    assert "circuits-vis-" not in json.dumps(widget_bundle(first))


def test_a_widget_stores_no_script_and_no_address() -> None:
    stored = json.dumps(Described(widget(), "x")._repr_mimebundle_())
    assert "script" not in stored and "http" not in stored and len(stored) < 500


def test_a_described_widget_shows_its_text_in_a_terminal() -> None:
    bundle = Described(widget(), "Who attends to whom.")._repr_mimebundle_()
    assert bundle["text/plain"] == bundle[mime.CIRCUITSVIS]["alt"] == "Who attends to whom."


def test_a_widget_without_a_text_is_named_by_its_component() -> None:
    assert widget_bundle(widget())["text/plain"] == "CircuitsVis widget AttentionPattern"


def test_markup_in_the_data_of_a_widget_comes_through() -> None:
    tokens = ['"})', "</b>", "|\\"]
    made = attention_pattern(tokens=tokens, attention=torch.eye(3))
    assert widget_bundle(made)[mime.CIRCUITSVIS]["props"]["tokens"] == tokens


def test_a_widget_that_draws_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="holds no component"):
        widget_bundle(RenderedHTML(local_src="<p>", cdn_src="<p>"))


def test_a_table_is_markdown_with_one_line_for_each_row() -> None:
    bundle = Table(["letter", "share"], [["a", 0.123456], ["b", 17_576]])._repr_mimebundle_()
    assert bundle["text/markdown"].splitlines() == [
        "| letter | share |",
        "| --- | ---: |",
        "| a | 0.1235 |",
        "| b | 17,576 |",
    ]
    assert bundle["text/plain"] == "letter\tshare\na\t0.1235\nb\t17,576"


@pytest.mark.parametrize(
    ("value", "cell"),
    [(0.41, "0.4100"), (1234.0, "1234"), (12.345, "12.35"), (0.0, "0"), (2.4321e-6, "2.432e-06")],
)
def test_a_float_in_a_table_has_four_digits(value: float, cell: str) -> None:
    assert Table(["n"], [[value]]).rows == [[cell]]


def test_floats_are_written_in_the_form_that_is_asked_for() -> None:
    rows = [["a", 0.25, 0.5], ["b", 1, 0.75]]
    assert Table(["", "x", "y"], rows, ".1f%").rows == [
        ["a", "25.0 %", "50.0 %"],
        ["b", "1", "75.0 %"],
    ]
    by_column = Table(["", "x", "y"], rows, {"y": ".1f"})
    assert by_column.rows == [["a", "0.2500", "0.5"], ["b", "1", "0.8"]]


def test_a_frame_is_a_table_with_its_named_index_first() -> None:
    frame = DataFrame({"share": [0.5, 0.25], "n": [1, 17_576]}, index=["a", "b"])
    assert Table(frame).headings == ["share", "n"]
    named = Table(frame.rename_axis("letter"), form=".0f%")
    assert named.headings == ["letter", "share", "n"]
    assert named.rows == [["a", "50 %", "1"], ["b", "25 %", "17,576"]]


def test_only_columns_of_numbers_are_set_flush_right() -> None:
    rows = [[0.5, "97.7 %", "0.98 ± 0.01", "1 of 26", "—"], [-3, "", "–", "4", "—"]]
    rule = Table(list("abcde"), rows)._repr_mimebundle_()["text/markdown"].splitlines()[1]
    assert rule == "| ---: | ---: | ---: | --- | --- |"


def test_a_bar_in_a_table_is_escaped() -> None:
    table = Table(["a|b", "n"], [["<abc|cba>", True]])
    bundle = table._repr_mimebundle_()
    lines = bundle["text/markdown"].splitlines()
    assert lines[0] == "| a\\|b | n |"
    assert lines[2] == "| <abc\\|cba> | True |"
    assert bundle["text/plain"] == "a|b\tn\n<abc|cba>\tTrue"
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines)


def test_a_notebook_stores_figures_as_json(settings: None) -> None:
    set_up()
    assert plotly.io.renderers.default == "plotly_mimetype"
