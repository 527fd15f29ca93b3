"""Looks on while an app enqueues: for spans around it, and for headers that carry their context along."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from fastq.app import App
from fastq.errors import UsageError
from fastq.job import JobSpec, Options


@dataclass(slots=True)
class Sending:
    """Jobs on their way: what they carry, and how many they were, with the id of the only one."""

    headers: Mapping[str, Any] = field(default_factory=dict)
    jobs: int = 0
    job_id: int | None = None
    _known: dict[int, tuple[Options, Options]] = field(default_factory=dict)

    def carry(self, spec: JobSpec) -> JobSpec:
        """Return a job with the headers that it carries; those that it has stay."""
        if not self.headers:
            return spec
        known = self._known.get(id(spec.options))
        if known is None:
            known = self._known[id(spec.options)] = spec.options, self._with(spec.options)
        return JobSpec(spec.task, spec.args, known[1])

    def _with(self, options: Options) -> Options:
        try:
            return options.but(headers={**self.headers, **(options.headers or {})})
        except UsageError:  # a job's own headers leave no room
            return options

    def carried(self, specs: Iterable[JobSpec]) -> Iterator[JobSpec]:
        """Yield jobs with the headers that they carry."""
        return map(self.carry, specs)


Around = Callable[[JobSpec | None], AbstractContextManager[Sending]]
"""Is entered around an enqueue: of one job, or of many (None)."""


def watch(app: App, around: Around) -> None:
    """Have `around` entered whenever the app enqueues, from now on."""
    for name in ("enqueue", "reserve"):
        setattr(app, name, _one(getattr(app, name), around))
        setattr(app, f"{name}_sync", _one_sync(getattr(app, f"{name}_sync"), around))
    app.enqueue_many = _many(app.enqueue_many, around)  # type: ignore[method-assign]
    app.enqueue_many_sync = _many_sync(app.enqueue_many_sync, around)  # type: ignore[method-assign]


def _one(enqueue: Callable[..., Any], around: Around) -> Callable[..., Any]:
    @wraps(enqueue)
    async def watched(spec: JobSpec, **options: Any) -> Any:
        with around(spec) as sending:
            ref = await enqueue(sending.carry(spec), **options)
            sending.jobs, sending.job_id = 1, ref.id
            return ref

    return watched


def _one_sync(enqueue: Callable[..., Any], around: Around) -> Callable[..., Any]:
    @wraps(enqueue)
    def watched(spec: JobSpec, **options: Any) -> Any:
        with around(spec) as sending:
            ref = enqueue(sending.carry(spec), **options)
            sending.jobs, sending.job_id = 1, ref.id
            return ref

    return watched


def _many(enqueue: Callable[..., Any], around: Around) -> Callable[..., Any]:
    @wraps(enqueue)
    async def watched(specs: Iterable[JobSpec], **options: Any) -> Any:
        with around(None) as sending:
            ids = await enqueue(sending.carried(specs) if sending.headers else specs, **options)
            sending.jobs = len(ids)
            return ids

    return watched


def _many_sync(enqueue: Callable[..., Any], around: Around) -> Callable[..., Any]:
    @wraps(enqueue)
    def watched(specs: Iterable[JobSpec], **options: Any) -> Any:
        with around(None) as sending:
            ids = enqueue(sending.carried(specs) if sending.headers else specs, **options)
            sending.jobs = len(ids)
            return ids

    return watched
