"""The models that should fail, and what they are made of."""

import pytest
import torch

from palindrome_lens import stored, training
from palindrome_lens.circuits.controls import FRESH, HALF_TRAINED, controls
from palindrome_lens.model import ModelConfig, init_model
from palindrome_lens.task import Task

TINY = Task(alphabet="abcd", half_length=2)


def test_one_control_is_half_trained_and_one_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    short = training.ORIGINAL.model_copy(update={"steps": 3, "test_fraction": 0.25})
    monkeypatch.setattr(training, "ORIGINAL", short)
    found = controls(TINY, seed=1)
    config = ModelConfig(seed=1)
    half = stored.trained(TINY, config, short.model_copy(update={"seed": 1})).model
    read = found[FRESH].read
    with torch.no_grad():
        fresh = init_model(config, TINY)(read)
        assert torch.equal(found[HALF_TRAINED].model(read), half(read))
        torch.testing.assert_close(found[FRESH].model(read), fresh, rtol=0, atol=1e-12)
        assert not torch.allclose(half(read), fresh)
