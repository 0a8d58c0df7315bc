import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from edge_app.cli import leukoscope

ROOT = Path(__file__).parents[1]
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")}
COMMAND_LINES = [
    line
    for block in re.findall(r"```\n(.*?)```", TEXTS["README.md"], re.DOTALL)
    for line in block.splitlines()
    if line.startswith("leukoscope ")
]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_of_the_readme_is_one_that_the_command_takes(line: str) -> None:
    words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    command: click.Command = leukoscope
    context = click.Context(command)
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    command.parse_args(click.Context(command, resilient_parsing=True), words)
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= options


def test_the_readme_shows_the_commands_of_each_user() -> None:
    assert {shlex.split(line, comments=True)[1] for line in COMMAND_LINES} >= {
        "bundle",
        "cameras",
        "classify",
        "dataset",
        "doctor",
        "evaluate",
        "export",
        "run",
        "train",
    }


@pytest.mark.parametrize("name", TEXTS)
def test_files_that_are_linked_or_named_exist(name: str) -> None:
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXTS[name])
    named = re.findall(r"`((?:edge_app|train|export|benchmarks|tests)/[\w./-]+)`", TEXTS[name])
    for path in linked + named:
        assert (ROOT / path).exists(), path


@pytest.mark.slow
def test_the_readmes_first_command_ends_with_verdicts_in_a_fresh_clone(tmp_path: Path) -> None:
    match = re.search(r"<!-- demo -->\n```\n(.*?)\n```", TEXTS["README.md"], re.DOTALL)
    assert match is not None
    subprocess.run(["/usr/bin/git", "clone", "-q", str(ROOT), str(tmp_path / "clone")], check=True)
    result = subprocess.run(
        ["/bin/bash", "-c", match[1]],
        cwd=tmp_path / "clone",
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.count("Cancer") == 4
