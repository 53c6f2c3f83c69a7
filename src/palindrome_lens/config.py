"""The base of every typed configuration: frozen, strict, and plain about what is wrong with it."""

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from claimbook.errors import ClaimbookError


class ConfigError(ClaimbookError):
    """A configuration that cannot be; the message names the value and what is allowed."""


class Config(BaseModel):
    """A frozen, strictly typed record.

    Strict means that ``"500"`` is not accepted where an ``int`` is expected: a parameter handed
    over by papermill as text would otherwise pass unnoticed until it was compared.

    Raises:
        ConfigError: a field has the wrong type, lies outside its range, or does not exist.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise ConfigError(_sentence(type(self), error)) from None

    @classmethod
    def called(cls, field: str) -> str:
        """How a field is named in what is said about it."""
        return f"{cls.__name__}.{field}"


def _sentence(config: type[Config], error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(config.model_fields)
        near = difflib.get_close_matches(field, config.model_fields, n=1)
        hint = f" (the nearest is {near[0]!r})" if near else ""
        return f"{config.__name__} has no field {field!r}{hint}; its fields are {allowed}."
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    got = f"{first['input']!r} ({type(first['input']).__name__})"
    must = first["msg"].replace("Input should be", "it must be")
    return f"{config.called(field)} is {got}: {must[0].lower()}{must[1:]}."
