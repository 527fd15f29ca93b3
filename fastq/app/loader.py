"""Finds the app that `module:attr` names, with the current directory importable."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path

from fastq.app import App
from fastq.errors import TargetError


def load_app(target: str) -> App:
    """Return the fastq.App that `module:attr` names; `attr` is "app" when left out.

    Raises:
        TargetError: the module or the attribute is not there, or is no App; the message says which.

    """
    module_name, _, attr = target.partition(":")
    names = (*module_name.split("."), *(attr or "app").split("."))
    if module_name.endswith(".py") or not all(name.isidentifier() for name in names):
        raise TargetError(f"TARGET is module:attr, such as jobs:app for the app of jobs.py, not {target!r}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        _set_django_up()
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name is not None and (module_name == exc.name or module_name.startswith(exc.name + ".")):
            raise TargetError(f"there is no module {exc.name!r} to import from {here}") from None
        raise TargetError(f"importing {module_name!r} failed: it needs the module {exc.name!r}") from exc
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # a SystemExit is the module's, and no reason for ours
        raise TargetError(f"importing {module_name!r} failed: {_reason(exc)}") from exc
    found: object = module
    for part in (attr or "app").split("."):
        found = getattr(found, part, None)
    if not isinstance(found, App):
        apps = sorted(name for name, value in vars(module).items() if isinstance(value, App))
        hint = f"; it has {', '.join(f'{module_name}:{name}' for name in apps)}" if apps else ""
        raise TargetError(f"{module_name!r} has no fastq.App named {attr or 'app'!r}{hint}")
    return found


def _set_django_up() -> None:
    """Load the settings and models of a Django project before its tasks, which use them."""
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        try:
            import django
        except ModuleNotFoundError:
            return
        django.setup()


def _reason(exc: BaseException) -> str:
    """Return what an import died of, and where."""
    if isinstance(exc, SyntaxError):
        return f"{type(exc).__name__}: {exc.msg} ({exc.filename}:{exc.lineno})"
    try:
        text = str(exc)
    except Exception:  # noqa: BLE001 - an exception without a text is still one
        text = "its text cannot be made"
    what = f"it called sys.exit({exc.code!r})" if isinstance(exc, SystemExit) else f"{type(exc).__name__}: {text}"
    where = traceback.extract_tb(exc.__traceback__)[-1]
    return f"{what} ({where.filename}:{where.lineno})"
