import handbuilt as by_hand
import pytest
from transformer_lens.model_bridge import TransformerBridge

from palindrome_lens.task import Task


@pytest.fixture(scope="session")
def handbuilt() -> by_hand.HandBuilt:
    return by_hand.build()


@pytest.fixture(scope="session")
def random() -> TransformerBridge:
    return by_hand.random_model(Task(alphabet="abcd", half_length=2))
