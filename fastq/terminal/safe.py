"""Makes text harmless to a terminal: names, errors and arguments are a stranger's, and may hold its commands. Pure."""

from __future__ import annotations

import re

# C0 but for tab and newline, DEL, C1 (0x9b begins a sequence as ESC [ does), what turns the direction of writing, line
# and paragraph separators, lone surrogates.
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BREAKS = re.compile("[\t\n]")


def safe(text: str) -> str:
    r"""Return the text with control characters shown as `\x1b`; tabs and newlines stay."""
    return _COMMANDS.sub(_shown, text)


def safe_line(text: str) -> str:
    r"""As `safe`, with newlines shown as `\n` too: one line stays one line."""
    return _BREAKS.sub(_shown, safe(text))


def safe_json(text: str) -> str:
    r"""Return the same JSON with the control characters that it may hold as they are written as `\u009b`."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _shown(found: re.Match[str]) -> str:
    return repr(found[0])[1:-1]
