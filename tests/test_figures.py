"""Figures hold the data they were given, to 4 significant digits, and a text for who cannot see."""

import json
import math
from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go
import pytest
import torch

from palindrome_lens import colours, figures
from palindrome_lens.figures import bars, heatmap, lines, numbers, points, slider

TITLES: dict[str, Any] = {"x_title": "step", "y_title": "nats", "alt": "A line\n    that falls."}
MAKERS: dict[str, Callable[[], go.Figure]] = {
    "lines": lambda: lines({"loss": [3.14159265, 1.0]}, **TITLES),
    "bars": lambda: bars({"loss": [3.14159265, 1.0]}, labels=["a", "b"], **TITLES),
    "points": lambda: points(
        {"loss": ([1.0, 2.0], [3.14159265, 1.0], [3.0, 1.0], [4.0, 1.0])}, **TITLES
    ),
    "heatmap": lambda: heatmap(
        torch.tensor([[3.14159265, 1.0]]), rows=["q"], columns=["a", "b"], **TITLES
    ),
}


def as_json(figure: go.Figure) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(figure.to_json())
    return stored


def test_numbers_have_4_significant_digits() -> None:
    assert numbers([1.23456, -0.00098765432, 17576.0]) == [1.235, -0.0009877, 17580.0]


def test_nested_numbers_keep_their_shape() -> None:
    assert numbers(torch.tensor([[1.0, 2.0], [3.0, 4.0]])) == [[1.0, 2.0], [3.0, 4.0]]


def test_not_a_number_becomes_a_gap() -> None:
    assert numbers([1.0, math.nan, 2.0]) == [1.0, None, 2.0]
    assert numbers([math.nan]) == [None]


def test_rounding_noise_becomes_0() -> None:
    assert numbers([5.0, 1e-12, -4e-10, 2e-8]) == [5.0, 0.0, 0.0, 2e-8]


def test_small_numbers_among_their_like_are_no_noise() -> None:
    assert numbers([2e-12, 1e-12]) == [2e-12, 1e-12]


def test_noise_in_the_last_digits_changes_nothing() -> None:
    values = torch.tensor([0.1234567, 3.3, 1e-16], dtype=torch.float64)
    assert numbers(values) == numbers(values * (1 + 1e-13) + 1e-17)


def test_no_numbers_are_no_numbers() -> None:
    assert numbers([]) == []


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_every_figure_has_its_text_titles_and_rounded_data(maker: Callable[[], go.Figure]) -> None:
    figure = as_json(maker())
    assert figure["layout"]["meta"]["alt"] == "A line that falls."
    assert figure["layout"]["xaxis"]["title"]["text"] == "step"
    assert figure["layout"]["yaxis"]["title"]["text"] == "nats"
    text = json.dumps(figure)
    assert "3.142" in text and "3.1415" not in text


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_the_same_figure_is_the_same_json_without_packed_arrays(
    maker: Callable[[], go.Figure],
) -> None:
    assert maker().to_json() == maker().to_json()
    assert "bdata" not in maker().to_json()


def test_lines_hold_their_series_over_a_common_x() -> None:
    figure = as_json(lines({"a": [1.0, 2.0], "b": [3.0, math.nan]}, x=[0, 25], **TITLES))
    found = [(line["name"], line["x"], line["y"]) for line in figure["data"]]
    assert found == [("a", [0.0, 25.0], [1.0, 2.0]), ("b", [0.0, 25.0], [3.0, None])]


def test_lines_count_from_0_where_no_x_is_given() -> None:
    (line,) = as_json(lines({"a": torch.tensor([5.0, 6.0, 7.0])}, **TITLES))["data"]
    assert line["x"] == [0, 1, 2]


def test_a_level_runs_from_the_first_x_to_the_last() -> None:
    figure = as_json(lines({"a": [1.0, 2.0]}, x=[10, 90], levels={"floor": 1.2217861}, **TITLES))
    level = figure["data"][1]
    assert (level["name"], level["x"], level["y"]) == ("floor", [10.0, 90.0], [1.222, 1.222])


def test_a_logarithmic_axis_is_asked_for() -> None:
    assert as_json(lines({"a": [1.0]}, log_y=True, **TITLES))["layout"]["yaxis"]["type"] == "log"
    assert as_json(lines({"a": [1.0]}, **TITLES))["layout"]["yaxis"]["type"] == "linear"


def test_a_logarithmic_axis_of_few_powers_of_ten_labels_more_than_these() -> None:
    def ticks(values: list[float]) -> Any:
        return as_json(lines({"a": values}, log_y=True, **TITLES))["layout"]["yaxis"]["ticktext"]

    assert ticks([0.01, 0.5, math.nan]) == [
        "0.01",
        "0.02",
        "0.05",
        "0.1",
        "0.2",
        "0.5",
        "1",
        "2",
        "5",
    ]
    assert ticks([0.01, 5000.0]) == ["0.01", "0.1", "1", "10", "100", "1,000", "10,000"]
    assert ticks([2e-6, 5e-6]) == [
        "10<sup>-6</sup>", "2 × 10<sup>-6</sup>", "5 × 10<sup>-6</sup>",
        "10<sup>-5</sup>", "2 × 10<sup>-5</sup>", "5 × 10<sup>-5</sup>",
    ]  # fmt: skip


def test_bars_stand_over_their_labels() -> None:
    figure = as_json(bars({"a": [1.0, 2.0]}, labels=["x", "y"], levels={"chance": 0.5}, **TITLES))
    bar, level = figure["data"]
    assert (bar["x"], bar["y"]) == (["x", "y"], [1.0, 2.0])
    assert (level["x"], level["y"]) == (["x", "y"], [0.5, 0.5])


def test_a_heatmap_has_its_first_row_at_the_top() -> None:
    figure = as_json(heatmap(torch.eye(2), rows=["q0", "q1"], columns=["k0", "k1"], **TITLES))
    (cells,) = figure["data"]
    assert (cells["x"], cells["y"]) == (["k0", "k1"], ["q0", "q1"])
    assert cells["z"] == [[1.0, 0.0], [0.0, 1.0]]
    assert figure["layout"]["yaxis"]["autorange"] == "reversed"
    assert "zmid" not in cells and cells["zmin"] == 0


def test_a_diverging_heatmap_is_centred_at_0() -> None:
    figure = heatmap(torch.eye(2), rows=["a", "b"], columns=["c", "d"], diverging=True, **TITLES)
    assert as_json(figure)["data"][0]["zmid"] == 0


def test_the_colours_differ() -> None:
    assert len(set(colours.COLOURS)) == len(colours.COLOURS)


def test_a_slider_shows_a_matrix_for_each_stop_and_does_not_start_by_itself() -> None:
    stops = {"0": torch.tensor([[0.12345, 0.5]]), "40": torch.tensor([[1.0, 0.0]])}
    figure = slider(stops, rows=["q"], columns=["a", "b"], slider_title="step", **TITLES)
    stored = as_json(figure)
    assert stored["layout"]["meta"]["alt"] == "A line that falls."
    assert stored["data"][0]["z"] == [[0.123, 0.5]]
    frames = {frame["name"]: frame["data"][0]["z"] for frame in stored["frames"]}
    assert frames == {"0": [[0.123, 0.5]], "40": [[1.0, 0.0]]}
    (control,) = stored["layout"]["sliders"]
    assert [(step["label"], step["args"][0]) for step in control["steps"]] == [
        ("0", ["0"]),
        ("40", ["40"]),
    ]
    assert "updatemenus" not in stored["layout"]
    assert "bdata" not in figure.to_json()


def test_pictures_lie_side_by_side_below_the_ones_they_are_compared_with() -> None:
    images = torch.arange(1.0, 13.0).reshape(3, 2, 2)
    shown = figures.pictures({"true": images, "found": -images}, across=2, alt="Squares.")
    z = torch.tensor(shown.data[0].z)
    assert z.shape == (12, 6)
    assert z[1:3, 4:6].tolist() == [[0.625, 0.75], [0.875, 1.0]]
    assert z[4:6, 4:6].tolist() == [[-0.625, -0.75], [-0.875, -1.0]]
    assert shown.layout.yaxis.ticktext == ("true", "found", "true", "found")


def test_more_series_than_colours_differ_in_their_symbols() -> None:
    many = {f"unnamed {i}": ([1.0], [2.0], [1.5], [2.25]) for i in range(len(colours.COLOURS) + 1)}
    drawn = as_json(points(many, **TITLES))["data"]
    assert drawn[0]["error_y"]["array"] == [0.25]
    assert drawn[0]["error_y"]["arrayminus"] == [0.5]
    assert drawn[0]["marker"]["symbol"] != drawn[-1]["marker"]["symbol"]
    assert len({each["marker"]["symbol"] for each in drawn[:-1]}) == 1
