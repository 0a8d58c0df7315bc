import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from edge_app.cli import leukoscope
from edge_app.manifest import Manifest
from edge_app.settings import Settings, load_settings

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
BLOCKS = [
    (language, block)
    for text in PAGES.values()
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
]
# in blocks and, with all that they need, within the text; NAMES IN CAPITALS stand for the reader's own
COMMAND_LINES = sorted(
    {
        line.removeprefix("sudo ")
        for line in (
            *(line for language, block in BLOCKS if not language for line in block.splitlines()),
            *(code for text in PAGES.values() for code in re.findall(r"`([^`\n]+)`", text)),
        )
        if re.match(r"(sudo )?(\S*/)?leukoscope ", line) and not re.search(r"\b[A-Z]{4,}( |$)|[|…]", line)
    }
)
MODULES = sorted({name for text in PAGES.values() for name in re.findall(r"python -m ([\w.]+)", text)} - {"venv"})


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


@pytest.mark.parametrize("name", MODULES)
def test_modules_that_the_docs_run_are_there(name: str) -> None:
    assert importlib.util.find_spec(name) is not None


def test_links_into_a_page_name_a_heading_of_it() -> None:
    for name, text in PAGES.items():
        for page, heading in re.findall(r"\]\(([\w.-]*)#([^)]+)\)", text):
            headings = re.findall(r"^#+ (.*)$", PAGES[page or name], re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, name


def test_every_page_is_in_the_index() -> None:
    assert set(re.findall(r"\]\(([\w-]+\.md)\)", PAGES["README.md"])) == PAGES.keys() - {"README.md"}


# in a process of its own: click remembers how an earlier test called a command
@pytest.mark.parametrize(
    ("page", "module"), [("commands.md", "edge_app.reference"), ("device-checks.md", "tests.device.report")]
)
def test_pages_that_are_made_are_made_again_after_a_change(page: str, module: str) -> None:
    made = subprocess.run([sys.executable, "-m", module], cwd=ROOT, capture_output=True, text=True, check=True)
    assert PAGES[page] == made.stdout, f"python -m {module} > docs/{page}"


def test_each_key_of_the_manifest_is_explained() -> None:
    explained = set(re.findall(r"`(\w+)`", PAGES["bundles.md"]))
    assert set(Manifest.model_fields) <= explained
