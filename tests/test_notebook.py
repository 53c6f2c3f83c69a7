"""What every notebook does first."""

from collections.abc import Iterator

import plotly.io
import pytest
import torch

from palindrome_lens.config import ConfigError
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


@pytest.mark.parametrize("wanted", ["many", "0", "", "-1", "1.5", "²", "99999999999"])
def test_a_number_of_threads_that_cannot_be_is_refused(
    settings: None, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    monkeypatch.setenv("PALINDROME_LENS_THREADS", wanted)
    sentence = f"PALINDROME_LENS_THREADS is {wanted!r}; it must be a whole number from 1 to 1024."
    with pytest.raises(ConfigError) as caught:
        set_up()
    assert str(caught.value) == sentence
