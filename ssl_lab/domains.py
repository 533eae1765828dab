"""What an option may be: the types of constructors' arguments say it, and it is checked before work begins."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError

from ssl_lab.errors import UsageError, nearest

WORDS = {"Input should": "it should", "Value should": "it should", "an instance of Sequence": "a list"}


def _ascending(ends: Sequence[float]) -> Sequence[float]:
    if ends[0] > ends[1]:
        raise ValueError("the first should not be greater than the second")
    return ends


Share = Annotated[float, Field(ge=0, le=1)]
"""of a whole; a probability"""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Several = Annotated[int, Field(ge=2)]
Limit = Annotated[int, Field(ge=-1)]
"""-1: none"""

Seed = Annotated[int, Field(ge=0, lt=2**32)]

Half = Annotated[float, Field(ge=0, le=0.5)]
"""at most a half of a whole"""

Counts = Annotated[Sequence[Count], Field(min_length=1)]
Temperatures = Annotated[Sequence[Positive], Field(min_length=1)]

Widths = Annotated[Sequence[Count], Field(min_length=1, max_length=1000)]
"""of layers, one after the other"""

Depth = Annotated[int, Field(ge=1, le=1000)]
"""a number of layers"""

Channels = Annotated[Sequence[float], Field(min_length=1)]
"""a number for each channel"""

Shares = Annotated[Sequence[Share], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
Positives = Annotated[Sequence[Positive], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
"""the least and the greatest"""

Level = Annotated[int, Field(ge=0, le=255)]
Between = Annotated[Sequence[float], Field(min_length=2, max_length=2), AfterValidator(_ascending)]
"""the least and the greatest"""

Window = tuple[Annotated[float, Field(allow_inf_nan=False)], Annotated[float, Field(ge=1, allow_inf_nan=False)]]
"""centre and width of the values that are seen, from black to white"""

Degrees = Annotated[float, Field(ge=0, le=180)]


def valid(annotation: Any, value: Any, key: str) -> Any:
    """The value, as that type takes it. Raises UsageError that names the key and what it may be."""
    if dataclasses.is_dataclass(annotation) and isinstance(value, dict):
        known = [field.name for field in dataclasses.fields(annotation)]
        if unknown := [name for name in value if name not in known]:
            raise UsageError(f"{key}.{unknown[0]}: there is no such option; {nearest(unknown[0], known)}")
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # a dataclass, which has a config of its own
        adapter = TypeAdapter(annotation)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        inner, reason = explained(error)
        shown = f"={value}" if len(str(value)) < 100 else ""
        raise UsageError(f"{'.'.join(filter(None, (key, *inner)))}{'' if inner else shown}: {reason}") from error


def explained(error: ValidationError) -> tuple[list[str], str]:
    """Where the first thing that is wrong lies, and what is wrong with it."""
    first = error.errors(include_url=False)[0]
    where = [str(part) for part in first["loc"] if str(part).isidentifier() or str(part).isdigit()]
    where = [part for part in where if part not in ("int", "float", "str", "list", "bool")]  # kinds of a union
    if first["type"] in ("missing", "extra_forbidden"):
        return where, "it is missing" if first["type"] == "missing" else "there is no such option"
    if first["type"] in ("model_type", "dict_type", "dataclass_type"):
        return where, "it should be a mapping of names to values"
    reason = first["msg"].removeprefix("Value error, ")
    for theirs, ours in WORDS.items():
        reason = reason.replace(theirs, ours)
    given = first["input"]
    return where, f"{given!r}: {reason}" if where and len(str(given)) < 100 else reason
