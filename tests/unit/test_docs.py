"""What the documentation names exists: figures, pages and headings that are linked, commands and their options."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from fastq import App
from fastq.cli.main import cli
from fastq.job import Options

pytestmark = pytest.mark.unit

TOP = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
PAGES += sorted(path.relative_to(TOP).as_posix() for path in TOP.glob("docs/**/*.md"))
PROCESSES = {"steward", "heartbeat", "reaper", "leader", "listener", "ring", "producer", "bench*"}
"""What follows `fastq` in the names of processes and of connections."""
OTHERS = {"--preload", "--init"}
"""Options of other programs: gunicorn's, Docker's."""
START = r"(?:^ *(?:\$ )?|[|;(=] ?|&& |do |/bin/)"
"""What stands before a command in a shell."""
CODE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def text_of(page: str) -> str:
    """Return a page as it is written."""
    return (TOP / page).read_text("utf-8")


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link names a file of the checkout, and a heading that it has."""
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", CODE.sub("", text_of(page))):
        name, _, anchor = target.partition("#")
        path = (TOP / page).parent.joinpath(name).resolve() if name else TOP / page
        assert path.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(path.relative_to(TOP).as_posix()), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_figures_have_their_files(page: str) -> None:
    """Every file of bench_results/ that a page names is there."""
    named = re.findall(r"bench_results/([\w.-]*\w)", text_of(page))
    assert [name for name in named if not (TOP / "bench_results" / name).exists()] == []


def commands(page: str) -> Iterator[list[str]]:
    """Yield the words of every `fastq …` on a page, in its text and in its blocks of shell commands."""
    text = re.sub(r" *\\\n *", " ", text_of(page))
    blocks = re.findall(r"^```(?:sh|console|ini|dockerfile|yaml)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"^    \S.*$", text, re.MULTILINE)
    typed = re.findall(r"`(fastq [^`\n]+)`", CODE.sub("", text))
    for block in blocks:
        typed += re.findall(
            r"(?:^ *(?:\$ )?|[|;(=] ?|&& |do |/bin/)(?:[A-Z_]+=\S+ )?(fastq [^|;&#)\n]+)", block, re.MULTILINE
        )
    for words in (command.replace("\\|", "|").split() for command in typed):
        if words[1] not in PROCESSES:
            yield words


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_the_text_exist(page: str) -> None:
    """Every command and option that a page names is one that `fastq` has."""
    for words in commands(page):
        here: click.Command = cli
        for word in iter(words[1:]):
            if isinstance(here, click.Group) and not word.startswith("-"):
                names = [here.get_command(click.Context(here), name) for name in re.split(r"[|,]", word)]
                assert all(names), f"{page}: {' '.join(words)}"
                here = names[0] or here
            elif word == "--":
                break
            elif word.startswith("-") and word != "-" and not isinstance(here, click.Group):
                options = {part.partition("=")[0] for part in re.split(r"[/|]", word.strip("[].,;"))}
                assert options <= options_of(here), f"{page}: {' '.join(words)}"


def options_of(command: click.Command) -> set[str]:
    """Return everything that can be given to a command as an option."""
    return {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}


def every_option(command: click.Command) -> set[str]:
    """Return the options of a command and of all below it."""
    names = command.list_commands(click.Context(command)) if isinstance(command, click.Group) else []
    return options_of(command).union(*(every_option(command.get_command(click.Context(command), n)) for n in names))


@pytest.mark.parametrize("page", [page for page in PAGES if page != "docs/coming_from.md"])
def test_options_in_the_text_exist(page: str) -> None:
    """An option that stands by itself is one of some command of `fastq`."""
    named = re.findall(r"`(--?[a-z][a-z-]*)", CODE.sub("", text_of(page)))
    assert set(named) - every_option(cli) - OTHERS == set()


def modules_of_workers() -> Iterator[tuple[str, str]]:
    """Yield each Python module that a page or an example gives to `fastq worker`: where it stands, and its text."""
    for page in PAGES:
        text = text_of(page)
        files = dict(re.findall(r"^<!-- file: (\S+)\.py -->\n```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
        for name, code in files.items():
            if f"fastq worker {name.replace('/', '.')}:" in text:
                yield f"{page}: {name}", code
    for path in (TOP / "examples").glob("*.py"):
        yield path.name, path.read_text("utf-8")


def test_modules_of_workers_enqueue_nothing_when_they_are_imported() -> None:
    """A worker imports them as well, and would enqueue once more; what enqueues is behind `if __name__`."""
    found = list(modules_of_workers())
    assert len(found) > 20
    for where, code in found:
        for statement in ast.parse(code).body:
            opens = isinstance(statement, (ast.With, ast.AsyncWith))
            calls = isinstance(statement, ast.Expr) and "asyncio.run" in ast.unparse(statement)
            assert not opens, where
            assert not calls, where


def test_the_index_has_every_page() -> None:
    """docs/README.md links to each page beside it, and README.md to the index."""
    linked = set(re.findall(r"\]\(([\w-]+\.md)", text_of("docs/README.md")))
    assert {path.name for path in TOP.glob("docs/*.md")} - linked == {"README.md"}
    assert "(docs/README.md)" in text_of("README.md")


def test_the_page_on_tasks_has_every_option() -> None:
    """Each option of `@app.task` and of `task.options(…)` has its row in docs/tasks.md."""
    text = text_of("docs/tasks.md")
    tasks, jobs = text.partition("## Options of a job")[::2]
    named = [
        set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`[^|]+)\|", part, re.MULTILINE))))
        for part in (tasks, jobs)
    ]
    assert set(inspect.signature(App.task).parameters) - {"self", "fn"} <= named[0]
    assert {name.removesuffix("_s") for name in Options.__slots__} <= named[1]
