"""Configurations refuse what they cannot mean, in one sentence."""

from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from pydantic import Field, ValidationError, model_validator

from palindrome_lens.config import Config, ConfigError


class Example(Config):
    steps: int = Field(default=10, ge=1)
    rate: float = 0.5
    name: str = "x"

    @model_validator(mode="after")
    def _check(self) -> "Example":
        if self.name == "forbidden":
            raise ValueError("The name is 'forbidden'; any other is allowed.")
        return self


def test_defaults_and_given_values_are_kept() -> None:
    example = Example(steps=3)
    assert (example.steps, example.rate, example.name) == (3, 0.5, "x")


def test_it_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Example().steps = 5


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"steps": "500"}, ["Example.steps", "'500' (str)", "integer"]),
        ({"steps": 2.5}, ["Example.steps", "2.5 (float)", "integer"]),
        ({"steps": True}, ["Example.steps", "True (bool)", "integer"]),
        ({"rate": "0.1"}, ["Example.rate", "'0.1' (str)", "number"]),
        ({"steps": 0}, ["Example.steps", "0 (int)", "greater than or equal to 1"]),
        ({"stepz": 5}, ["'stepz' (the nearest is 'steps')", "steps, rate, name"]),
        ({"name": "forbidden"}, ["The name is 'forbidden'; any other is allowed."]),
        ({"name": None}, ["Example.name", "None (NoneType)", "string"]),
    ],
)
def test_a_wrong_field_gives_one_sentence_with_its_value(
    fields: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        Example(**fields)
    message = str(caught.value)
    assert all(part in message for part in said), message
    assert "\n" not in message and message.endswith(".")


def test_a_config_error_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        Example(**{"steps": "500"})  # type: ignore[arg-type]


def test_a_notebook_shows_the_sentence_alone() -> None:
    shell = InteractiveShell()
    ran = shell.run_cell("from palindrome_lens.config import Config\nConfig(a=1)", silent=True)
    assert ran.error_in_exec is not None
    assert ran.error_in_exec._render_traceback_() == [str(ran.error_in_exec)]
