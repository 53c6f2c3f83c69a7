"""What every notebook does first."""

from collections.abc import Iterator

import plotly.io
import pytest
import torch

from palindrome_lens.notebook import set_up


@pytest.fixture
def settings() -> Iterator[None]:
    threads, renderer = torch.get_num_threads(), plotly.io.renderers.default
    yield
    torch.set_num_threads(threads)
    plotly.io.renderers.default = renderer


def test_a_notebook_runs_on_one_thread_unless_it_is_told_otherwise(
    settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PALINDROME_LENS_THREADS", raising=False)
    set_up()
    assert torch.get_num_threads() == 1
    assert plotly.io.renderers.default == "plotly_mimetype"
    monkeypatch.setenv("PALINDROME_LENS_THREADS", "2")
    set_up()
    assert torch.get_num_threads() == 2
