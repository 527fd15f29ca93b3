"""Text of strangers made harmless to a terminal."""

from __future__ import annotations

import json

import pytest

from fastq.terminal.safe import safe, safe_json, safe_line

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\x08\x7f\0", r"a\rb\x08\x7f\x00"),
        ("abc\u202edef\u2066\u200f", r"abc\u202edef\u2066\u200f"),
        ("line\u2028line", r"line\u2028line"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(text: str, shown: str) -> None:
    """Control characters of both sets, what turns the direction of writing, what breaks lines, lone surrogates."""
    assert safe(text) == shown


def test_ordinary_text_of_any_language_stays_as_it_is() -> None:
    """Letters, emoji joined to one, tabs and newlines."""
    text = "Zoë 名前 שלום 👩‍🚀\n\tand so on \\x1b"
    assert safe(text) == text


def test_one_line_stays_one_line() -> None:
    """A newline in a name cannot begin a line of its own."""
    assert safe_line("a\n2 jobs\tdone\x1b") == r"a\n2 jobs\tdone\x1b"


def test_json_says_the_same_in_harmless_characters() -> None:
    """What JSON may hold as it is, but a terminal obeys, is escaped as JSON does it."""
    value = {"na\x7fme": ["\x9b31m", "\u202e", "ü"]}
    text = safe_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert "\x9b" not in text
    assert "ü" in text
