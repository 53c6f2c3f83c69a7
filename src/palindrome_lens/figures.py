"""Plotly figures in one style: they take tensors, return figures, and compute nothing.

Every figure carries its alternative text (``layout.meta.alt``), written by the caller, who knows
what it shows. Numbers are stored to 4 significant digits, as plain JSON: figures are compared
exactly from run to run, and the last digits of a float64 differ between CPUs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import torch
from jaxtyping import Float
from torch import Tensor

from palindrome_lens.claims import SIGNIFICANT, rounded

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#B8A600"]
"""Okabe and Ito's palette (2008), which stays apart for colour-blind readers; black and yellow
are replaced by a grey and an olive that show on both a white and a dark page."""

SYMBOLS = ["circle", "diamond-open", "square"]
"""For more series than there are colours."""

NEGLIGIBLE = 1e-9
"""Below this share of the largest value a number is rounding noise, and written as 0."""


def numbers(values: Tensor | Sequence[float]) -> list[Any]:
    """Nested lists of numbers to 4 significant digits; not-a-number becomes ``None`` (a gap)."""
    tensor = torch.as_tensor(values, dtype=torch.float64)
    finite = tensor[tensor.isfinite()]
    noise = NEGLIGIBLE * float(finite.abs().max()) if len(finite) else 0.0
    nested: list[Any] = _rounded(tensor.tolist(), noise)
    return nested


def _rounded(values: Any, noise: float) -> Any:
    if isinstance(values, list):
        return [_rounded(value, noise) for value in values]
    if values != values:
        return None
    return 0.0 if abs(values) <= noise else rounded(values, SIGNIFICANT)


def _styled(figure: go.Figure, alt: str, x: str, y: str, height: int) -> go.Figure:
    axis = {"automargin": True, "zeroline": False}
    figure.update_layout(
        template="none",
        meta={"alt": alt},
        height=height,
        margin={"l": 56, "r": 16, "t": 16, "b": 48},
        colorway=COLOURS,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis={"title": {"text": x}, **axis},
        yaxis={"title": {"text": y}, **axis},
    )
    return figure


def lines(
    series: Mapping[str, Tensor | Sequence[float]],
    *,
    x: Tensor | Sequence[float] | None = None,
    x_title: str,
    y_title: str,
    alt: str,
    levels: Mapping[str, float] | None = None,
    log_y: bool = False,
    height: int = 340,
) -> go.Figure:
    """One line for each series.

    Args:
        x: common to all series; by default 0, 1, 2, …
        levels: dashed horizontal lines, named.
    """
    figure = go.Figure()
    across: list[Any] = []
    for name, values in series.items():
        across = numbers(x) if x is not None else list(range(len(values)))
        figure.add_scatter(x=across, y=numbers(values), name=name, mode="lines")
    for i, (name, level) in enumerate((levels or {}).items()):
        figure.add_scatter(
            x=[across[0], across[-1]],
            y=[rounded(level)] * 2,
            name=name,
            mode="lines",
            line={"dash": ["dash", "dot", "dashdot"][i % 3], "color": COLOURS[6], "width": 1.5},
        )
    figure.update_yaxes(type="log" if log_y else "linear")
    return _styled(figure, alt, x_title, y_title, height)


def bars(
    series: Mapping[str, Tensor | Sequence[float]],
    *,
    labels: Sequence[str],
    x_title: str,
    y_title: str,
    alt: str,
    levels: Mapping[str, float] | None = None,
    height: int = 340,
) -> go.Figure:
    """Grouped bars, one group for each label."""
    figure = go.Figure()
    for name, values in series.items():
        figure.add_bar(x=list(labels), y=numbers(values), name=name)
    for name, level in (levels or {}).items():
        figure.add_scatter(
            x=[labels[0], labels[-1]],
            y=[rounded(level)] * 2,
            name=name,
            mode="lines",
            line={"dash": "dash", "color": COLOURS[6], "width": 1.5},
        )
    figure.update_layout(barmode="group", showlegend=True)
    figure.update_xaxes(type="category")
    return _styled(figure, alt, x_title, y_title, height)


def points(
    series: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float], Sequence[float]]],
    *,
    x_title: str,
    y_title: str,
    alt: str,
    log_x: bool = False,
    height: int = 400,
) -> go.Figure:
    """Points with vertical bars.

    Args:
        series: by name the horizontal places, the heights, and where each bar begins and ends.
            With more series than colours, the colours repeat with another symbol.
    """
    figure = go.Figure()
    for i, (name, (x, y, low, high)) in enumerate(series.items()):
        up = [top - value for top, value in zip(high, y, strict=True)]
        down = [value - bottom for bottom, value in zip(low, y, strict=True)]
        figure.add_scatter(
            x=numbers(x),
            y=numbers(y),
            error_y={"array": numbers(up), "arrayminus": numbers(down), "thickness": 1},
            name=name,
            mode="markers",
            marker={"size": 9, "symbol": SYMBOLS[i // len(COLOURS)]},
        )
    figure.update_xaxes(type="log" if log_x else "linear")
    return _styled(figure, alt, x_title, y_title, height)


def heatmap(
    values: Float[Tensor, "row column"],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    x_title: str,
    y_title: str,
    alt: str,
    diverging: bool = False,
    show_values: bool = False,
    height: int = 420,
) -> go.Figure:
    """A matrix in colour, its first row at the top.

    Args:
        diverging: red below and blue above 0, centred there; otherwise white to blue from 0.
        show_values: write each number into its cell, to 2 decimals.
    """
    scale = {"colorscale": "RdBu", "zmid": 0} if diverging else {"colorscale": "Blues", "zmin": 0}
    if show_values:
        scale |= {"texttemplate": "%{z:.2f}", "textfont": {"size": 11}}
    figure = go.Figure(
        go.Heatmap(
            z=numbers(values),
            x=list(columns),
            y=list(rows),
            colorbar={"thickness": 12, "outlinewidth": 0},
            **scale,
        )
    )
    styled = _styled(figure, alt, x_title, y_title, height)
    styled.update_yaxes(autorange="reversed", type="category")
    styled.update_xaxes(type="category")
    return styled


def slider(
    values: Mapping[str, Float[Tensor, "row column"]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    slider_title: str,
    x_title: str,
    y_title: str,
    alt: str,
    height: int = 480,
) -> go.Figure:
    """A matrix in colour, from 0 to 1, for each named stop of a slider; the first stop shows first.

    Nothing moves by itself. Numbers are stored to 3 decimals, because there are many.
    """
    stops = {name: [[round(v, 3) for v in row] for row in m.tolist()] for name, m in values.items()}
    first = next(iter(stops))
    figure = go.Figure(
        go.Heatmap(
            z=stops[first],
            x=list(columns),
            y=list(rows),
            colorscale="Blues",
            zmin=0,
            zmax=1,
            colorbar={"thickness": 12, "outlinewidth": 0},
        ),
        frames=[{"name": name, "data": [{"type": "heatmap", "z": z}]} for name, z in stops.items()],
    )
    styled = _styled(figure, alt, x_title, y_title, height)
    now = {"mode": "immediate", "frame": {"duration": 0, "redraw": True}}
    steps = [{"label": name, "method": "animate", "args": [[name], now]} for name in stops]
    title = {"prefix": f"{slider_title} "}
    styled.update_layout(sliders=[{"steps": steps, "currentvalue": title, "pad": {"t": 48}}])
    styled.update_yaxes(autorange="reversed", type="category")
    styled.update_xaxes(type="category")
    return styled


def pictures(
    series: Mapping[str, Float[Tensor, "picture row column"]],
    *,
    across: int,
    alt: str,
) -> go.Figure:
    """Small pictures under each other: ``across`` of each series, then the next ones of each.

    Every picture is scaled to a largest absolute value of 1; red is negative, blue positive.
    """
    bands, names = [], []
    for start in range(0, max(map(len, series.values())), across):
        for name, images in series.items():
            scaled = images / images.abs().amax(dim=(1, 2), keepdim=True)
            row = scaled[start : start + across]
            row = torch.cat([row, row.new_zeros(across - len(row), *row.shape[1:])])
            framed = torch.nn.functional.pad(row, (1, 0, 1, 0))
            bands.append(torch.cat(list(framed), dim=1))
            names.append(name)
    tall, wide = bands[0].shape
    figure = go.Figure(
        go.Heatmap(z=numbers(torch.cat(bands)), colorscale="RdBu", zmid=0, showscale=False)
    )
    styled = _styled(figure, alt, "", "", 52 * len(bands) + 64)
    middles = [tall * i + tall / 2 for i in range(len(bands))]
    styled.update_yaxes(
        tickvals=middles, ticktext=names, range=[tall * len(bands) - 0.5, -0.5], showgrid=False
    )
    styled.update_xaxes(visible=False, range=[-0.5, wide - 0.5])
    return styled
