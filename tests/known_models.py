"""The models that several rooms are tested on, each built once."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from handbuilt import HandBuilt
    from transformer_lens.model_bridge import TransformerBridge


# Imported within: the tests of the book tool need neither torch nor a model.
@pytest.fixture(scope="session")
def handbuilt() -> "HandBuilt":
    """A model whose circuit is known, because it was put there."""
    from handbuilt import build

    return build()


@pytest.fixture(scope="session")
def random() -> "TransformerBridge":
    """A model of fresh weights for strings of two letters over ``abcd``."""
    from handbuilt import random_model

    from palindrome_lens.task import Task

    return random_model(Task(alphabet="abcd", half_length=2))
