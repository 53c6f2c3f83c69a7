import handbuilt as by_hand
import pytest


@pytest.fixture(scope="session")
def handbuilt() -> by_hand.HandBuilt:
    return by_hand.build()
