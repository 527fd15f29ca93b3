"""What lies in deploy/: it parses, and what it names is there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastq.cli.main import COMMANDS, cli
from fastq.host.board import Board
from fastq.host.series import SeriesTable
from fastq.observability.exposition import exposition
from fastq.observability.totals import Totals

pytestmark = pytest.mark.unit

DEPLOY = Path(__file__).parents[2] / "deploy"
GRACE_S = 40
"""`--shutdown-timeout` and ten seconds."""


def documents(name: str) -> list[Any]:
    """Return the documents of a YAML file."""
    return list(yaml.safe_load_all((DEPLOY / name).read_text("utf-8")))


def commands() -> Iterator[list[str]]:
    """Yield every command line of fastq that the files have."""
    for document in documents("kubernetes.yaml"):
        for container in document["spec"].get("template", {}).get("spec", {}).get("containers", ()):
            yield container["command"]
            for probe in ("startupProbe", "livenessProbe"):
                if probe in container:
                    yield container[probe]["exec"]["command"]
    for service in documents("compose.yaml")[0]["services"].values():
        if service["image"] == "app" and "command" in service:
            yield ["fastq", *service["command"]]
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    (entry,) = re.findall(r"^ENTRYPOINT (\[.*\])", text, re.MULTILINE)
    (given,) = re.findall(r"^CMD (\[.*\])", text, re.MULTILINE)
    (health,) = re.findall(r"^HEALTHCHECK .*CMD (\[.*\])", text, re.MULTILINE)
    yield [*json.loads(entry), *json.loads(given)]
    yield json.loads(health)
    (exec_start,) = re.findall(r"^ExecStart=(.*)", (DEPLOY / "fastq.service").read_text("utf-8"), re.MULTILINE)
    yield ["fastq", *exec_start.split()[1:]]


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_each_command_is_one(command: list[str]) -> None:
    """With options that there are."""
    program, name, *rest = command
    assert (program, name in COMMANDS) == ("fastq", True)
    found = cli.get_command(None, name)  # type: ignore[arg-type]
    assert found is not None
    options = {option for param in found.params for option in (*param.opts, *param.secondary_opts)}
    assert {word for word in rest if word.startswith("--")} <= options


def test_everybody_waits_for_the_drain() -> None:
    """As long as docs/containers.md says."""
    worker = next(each for each in documents("kubernetes.yaml") if each["kind"] == "Deployment")
    assert worker["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == GRACE_S
    assert documents("compose.yaml")[0]["services"]["worker"]["stop_grace_period"] == f"{GRACE_S}s"
    assert f"TimeoutStopSec={GRACE_S}\n" in (DEPLOY / "fastq.service").read_text("utf-8")


def test_kubernetes_objects_have_what_they_need() -> None:
    """A kind, a name, and selectors that select."""
    for document in documents("kubernetes.yaml"):
        assert {"apiVersion", "kind", "metadata", "spec"} <= document.keys()
        assert document["metadata"]["name"]
    worker = next(each for each in documents("kubernetes.yaml") if each["kind"] == "Deployment")
    labels = worker["spec"]["template"]["metadata"]["labels"]
    assert worker["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_alerts_and_panels_ask_for_metrics_that_there_are() -> None:
    """As /metrics has them."""
    board = Board(cells=1, running=1)
    SeriesTable(board.house.series).of("q", "t")
    totals = Totals()
    totals.observe([board.house])
    text = exposition(board.cells, totals, leading=True, beat_age_s=0.0)
    families = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    asked = [rule["expr"] for rule in documents("alerts.yaml")[0]["groups"][0]["rules"]]
    dashboard = json.loads((DEPLOY / "grafana.json").read_text("utf-8"))
    asked += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(asked) > 15
    for expression in asked:
        for name in re.findall(r"\bfastq_\w+", expression):
            assert name.removesuffix("_bucket") in families, expression


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """With a program and a folder that are here; a systemd before 253 does not know notify-reload."""
    text = (DEPLOY / "fastq.service").read_text("utf-8")
    for wrong, right in (("/srv/app/.venv/bin/fastq", "/bin/true"), ("=/srv/app", "=/"), ("User=app", "User=root")):
        text = text.replace(wrong, right)
    (tmp_path / "fastq.service").write_text(text)
    command = ["systemd-analyze", "verify", str(tmp_path / "fastq.service")]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = [line for line in ran.stderr.splitlines() if "fastq.service" in line and "notify-reload" not in line]
    assert said == []
