import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from edge_app.cli import leukoscope
from edge_app.settings import Settings, load_settings

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
BLOCKS = [
    (language, block)
    for text in PAGES.values()
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
]
COMMAND_LINES = sorted(
    {
        line.removeprefix("sudo ")
        for language, block in BLOCKS
        if not language
        for line in block.splitlines()
        if re.match(r"(sudo )?(\S*/)?leukoscope ", line)
    }
)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_of_the_docs_is_one_that_the_command_takes(line: str) -> None:
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


@pytest.mark.parametrize(
    "block",
    # the other YAML there is for other programs
    [
        block
        for language, block in BLOCKS
        if language == "yaml" and yaml.safe_load(block).keys() & Settings.model_fields
    ],
)
def test_every_settings_example_of_the_docs_can_be_used(block: str, tmp_path: Path) -> None:
    tree = yaml.safe_load(block)
    for section in tree.values():  # the secrets' files are not on this machine
        for key in [key for key in section if key.endswith("_file")] if isinstance(section, dict) else []:
            (tmp_path / key).write_text("sqlite:///a-secret-of-this-test")
            section[key] = str(tmp_path / key)
    if "server" in tree and "token_file" in tree["server"]:
        (tmp_path / "token_file").write_text("a-token-of-this-test")
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(tree))
    load_settings(tmp_path / "settings.yaml", {})


@pytest.mark.parametrize("name", PAGES)
def test_files_that_a_page_links_or_names_exist(name: str) -> None:
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGES[name])
    named = re.findall(r"`((?:edge_app|train|export|benchmarks|tests)/[\w./-]+)`", PAGES[name])
    for path in [ROOT / "docs" / each for each in linked] + [ROOT / each for each in named]:
        assert path.exists(), path
