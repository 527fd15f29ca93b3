"""JSON in and out: the only place that knows how values become payloads. The only place for `Any`."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from datetime import timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import msgspec
import orjson

from fastq.errors import ArgumentError

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
_SPARE_LEVELS = 8
_WHOLE = frozenset({str, int, bool, type(None)})

loads = orjson.loads


def _default(value: Any) -> Any:
    """Write what orjson does not know: Decimal, timedelta (ISO 8601), bytes (base64), sets, pydantic and msgspec."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b64encode(value).decode()
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, timedelta):
        return msgspec.to_builtins(value)
    if isinstance(value, tuple):  # a named one
        return list(value)
    if isinstance(value, (set, frozenset)):
        return sorted(value) if all(isinstance(item, str) for item in value) else list(value)
    for method in ("model_dump", "__struct_fields__"):
        if hasattr(value, method):
            return (
                value.model_dump(mode="json")
                if method == "model_dump"
                else {f: getattr(value, f) for f in value.__struct_fields__}
            )
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def encode(value: Any, *, _dumps: Callable[..., bytes] = orjson.dumps) -> bytes:
    """Return `value` as compact JSON bytes, in which nan and infinity have become null: `check_numbers` finds them.

    Raises:
        ArgumentError: it cannot be written as JSON.

    """
    try:
        return _dumps(value, _default, _OPTIONS)
    except (orjson.JSONEncodeError, TypeError) as exc:
        why = exc.__cause__ or exc
        deep = "it is nested more than some 240 levels deep" if "Recursion limit" in str(why) else why
        raise ArgumentError(f"cannot be written as JSON: {deep}") from None


def dumps(value: Any) -> bytes:
    """Return `value` as compact JSON bytes.

    Raises:
        ArgumentError: it cannot be written as JSON.

    """
    body = encode(value)
    if b"null" in body:
        check_numbers({"": value})
    return body


def nests_at_most(levels: int, body: bytes) -> bool:
    """Tell whether JSON as `encode` writes it has at most so many arrays and objects around anything."""
    if body.count(b"[") + body.count(b"{") <= levels:
        return True
    layer = [loads(body)]
    for _ in range(levels):
        layer = [part for whole in layer for part in _parts(whole) if isinstance(part, (dict, list))]
    return not layer


def dumps_inside(value: Any) -> bytes:
    """As dumps, of a value that is to be written again inside of others: it may not be nested as deeply.

    Raises:
        ArgumentError: it cannot be written as JSON, or is nested too deeply for that.

    """
    for _ in range(_SPARE_LEVELS):
        value = [value]
    return dumps(value)[_SPARE_LEVELS:-_SPARE_LEVELS]


def check_numbers(args: dict[str, Any]) -> None:
    """Refuse arguments with nan or infinity, which `encode` writes as null; needed only where its text has a null.

    Raises:
        ArgumentError: there is such a number.

    """
    for value in args.values():
        if type(value) not in _WHOLE and not _finite(value):
            raise ArgumentError("cannot be written as JSON: nan and infinity are no numbers there")


def _finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return all(type(part) in _WHOLE or _finite(part) for part in _parts(value))


def _parts(value: Any) -> Iterable[Any]:
    """Return what is written for a value's inside: the items of a collection, the fields of an object."""
    if isinstance(value, dict):
        return (*value, *value.values())
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    if isinstance(value, Enum):
        return (value.value,)
    if is_dataclass(value):
        return [getattr(value, field.name, None) for field in fields(value)]
    if hasattr(value, "model_dump") or hasattr(value, "__struct_fields__"):
        return (_default(value),)
    return ()
