"""JSON in and out: the only place that knows how values become payloads. The only place for `Any`."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from fastq.errors import ArgumentError

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z

loads = orjson.loads


def _default(value: Any) -> Any:
    """Write what orjson does not know: Decimal, sets, bytes-free pydantic and msgspec models."""
    if isinstance(value, Decimal):
        return str(value)
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


def dumps(value: Any, *, _dumps: Callable[..., bytes] = orjson.dumps) -> bytes:
    """Return `value` as compact JSON bytes.

    Raises:
        ArgumentError: it cannot be written as JSON.

    """
    try:
        return _dumps(value, _default, _OPTIONS)
    except (orjson.JSONEncodeError, TypeError) as exc:
        raise ArgumentError(f"cannot be written as JSON: {exc.__cause__ or exc}") from None
