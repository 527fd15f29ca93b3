"""A task's parameters: which come from the payload, which are injected, and how payloads become arguments.

Checked when enqueued (names), converted and checked again when run (names and types), by msgspec. Does no I/O.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Collection
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from fastq.errors import ArgumentError, UsageError


@dataclass(frozen=True, slots=True)
class Injected:
    """A parameter that does not come from the payload, and the type that says what it gets."""

    name: str
    type: type


class Arguments:
    """The signature of a task's function, made ready for the hot path.

    `names` are the payload's parameters, `required` those without a default, `injected` the others; `items` is the one
    that gets the jobs of a batch handler.
    """

    items = ""
    hint = ""
    """What to say besides where an argument is missing."""

    def __init__(self, fn: Callable[..., Any], injectable: Callable[[object], bool]) -> None:
        self._fn = fn
        self._parameters = inspect.signature(fn).parameters
        hints = _hints(fn)
        self.injected = [Injected(n, hints[n]) for n in self._parameters if injectable(hints.get(n))]
        taken = {parameter.name for parameter in self.injected}
        self._payload = [p for p in self._parameters.values() if p.name not in taken]
        self._hints = hints
        self.open_ended = any(p.kind is p.VAR_KEYWORD for p in self._payload)
        for p in self._payload:
            if p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL):
                raise UsageError(
                    f"{fn.__qualname__}: arguments travel by name, so {p.name!r} cannot be positional-only"
                )
        named = [p for p in self._payload if p.kind is not p.VAR_KEYWORD]
        self.names = {p.name for p in named}
        self.required = {p.name for p in named if p.default is p.empty}
        self._order = [p.name for p in named]
        self._places = tuple(p.name for p in named if p.kind is p.POSITIONAL_OR_KEYWORD)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the payload for a call, by name.

        Raises:
            ArgumentError: an argument is missing, unknown or given twice. Nothing was enqueued.

        """
        if args:
            if len(args) > len(self._places):
                raise self._misfit(f"takes {len(self._places)} arguments by place, {len(args)} were given")
            by_place = dict(zip(self._places, args))  # noqa: B905 - fewer arguments than places; `strict` costs a third
            if kwargs:
                if twice := by_place.keys() & kwargs.keys():
                    raise self._misfit(f"got {_list(twice)} twice")
                by_place.update(kwargs)
            kwargs = by_place
        if kwargs.keys() != self.names:
            self._check(kwargs.keys())
        return kwargs

    def _check(self, given: AbstractSet[str]) -> None:
        if not given >= self.required:
            raise self._misfit(f"needs {_list(self.required - given)}{self.hint}")
        if not (self.open_ended or given <= self.names):
            raise self._misfit(f"has no parameter {_list(given - self.names)}; it takes {_list(self.names) or 'none'}")

    def _misfit(self, what: str) -> ArgumentError:
        return ArgumentError(f"{self._fn.__qualname__} {what}; nothing was enqueued")

    @cached_property
    def _struct(self) -> type[msgspec.Struct]:
        fields: list[Any] = []
        for p in self._payload:
            kind = self._hints.get(p.name, Any)
            if p.default is p.empty:
                fields.append((p.name, kind))
            else:
                fields.append((p.name, kind, msgspec.field(default_factory=_giving(p.default))))
        return msgspec.defstruct("Arguments", fields, forbid_unknown_fields=True, kw_only=True, gc=False)

    @cached_property
    def opener(self) -> Callable[[Any], Any]:
        """A function of the decoded payload giving what the task's parameters annotate: a msgspec struct, or a dict."""
        if self.open_ended:
            return self._open_ended
        struct, convert, hook = self._struct, msgspec.convert, _dec_hook

        def open_payload(payload: Any) -> Any:
            return convert(payload, struct, str_keys=True, dec_hook=hook)

        return open_payload

    @cached_property
    def many_opener(self) -> Callable[[bytes], list[Any]]:
        """A function of a JSON array of payloads, giving what `opener` gives of each; only where `by_place` holds."""
        return msgspec.json.Decoder(list[self._struct], dec_hook=_dec_hook).decode  # type: ignore[name-defined]

    def _open_ended(self, payload: Any) -> dict[str, Any]:
        if not isinstance(payload, dict):
            raise msgspec.ValidationError(f"Expected `object`, got `{type(payload).__name__}`")
        if missing := self.required - payload.keys():
            raise msgspec.ValidationError(f"Object missing required field {_list(missing)}")
        return {
            name: msgspec.convert(value, self._hints[name], str_keys=True, dec_hook=_dec_hook)
            if name in self.names and name in self._hints
            else value
            for name, value in payload.items()
        }

    def open(self, payload: Any) -> dict[str, Any]:
        """Return the converted arguments by name, defaults filled in.

        Raises:
            msgspec.ValidationError: the payload does not fit; the message names the place.

        """
        opened = self.opener(payload)
        return opened if isinstance(opened, dict) else {name: getattr(opened, name) for name in self._order}

    @property
    def by_place(self) -> bool:
        """Whether `msgspec.structs.astuple` of what `opener` gives can be passed by position."""
        simple = {inspect.Parameter.POSITIONAL_OR_KEYWORD}
        return not self.open_ended and not self.injected and all(p.kind in simple for p in self._payload)


class BatchArguments(Arguments):
    """The signature of a batch handler: one parameter, `items`, for the list of jobs; their arguments are any names."""

    def __init__(self, fn: Callable[..., Any], injectable: Callable[[object], bool]) -> None:
        super().__init__(fn, injectable)
        if len(self._payload) != 1 or self.open_ended:
            raise UsageError(f"{fn.__qualname__}: a batch handler takes one parameter, the list of its jobs")
        if any(hasattr(wanted.type, "checkpoint") for wanted in self.injected):
            raise UsageError(f"{fn.__qualname__}: a batch handler has no fastq.Context, its jobs are fastq.BatchItem")
        self.items = self._payload[0].name
        self.names, self.required, self._places, self._payload = set(), set(), (), []
        self.open_ended = True


def _giving(value: Any) -> Callable[[], Any]:
    return lambda: value


def _list(names: Collection[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names))


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(fn, include_extras=True)
    except NameError as exc:
        raise UsageError(
            f"{fn.__qualname__}: the annotation {exc.name!r} cannot be resolved; import it outside `if TYPE_CHECKING:`"
        ) from None


def _dec_hook(kind: Any, value: Any) -> Any:
    """Convert what msgspec does not know: pydantic models, and values that already are what is asked for."""
    if hasattr(kind, "model_validate"):
        try:
            return kind.model_validate(value)
        except ValueError as exc:
            raise msgspec.ValidationError(str(exc)) from None
    if isinstance(kind, type) and isinstance(value, kind):
        return value
    raise NotImplementedError(f"a parameter of type {kind!r} cannot be made from JSON")
