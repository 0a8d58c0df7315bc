import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from edge_app.cli import COMMANDS, leukoscope
from edge_app.manifest import Manifest
from edge_app.settings import Settings, load_settings

ROOT = Path(__file__).parents[1]
PAGES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
TEXTS = {f"docs/{name}": text for name, text in PAGES.items()} | {
    name: (ROOT / name).read_text("utf-8") for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = [found for text in TEXTS.values() for found in FENCED.findall(text)]  # language, block
# whole ones in blocks, and within the text those that leave the program's name out, too
INLINE = [" ".join(code.split()) for text in TEXTS.values() for code in re.findall(r"`([^`]+)`", FENCED.sub("", text))]
CALLS = [
    *(line for language, block in BLOCKS if not language for line in block.splitlines()),
    *(f"leukoscope {code}" if code.partition(" ")[0] in COMMANDS and " " in code else code for code in INLINE),
]
COMMAND_LINES = sorted(
    {
        line.removeprefix("sudo ")
        for line in CALLS
        # NAMES IN CAPITALS stand for the reader's own
        if re.match(r"(sudo )?(\S*/)?leukoscope ", line) and not re.search(r"\b[A-Z]+( |$)|[|…&;]", line)
    }
)
MODULES = sorted({name for text in TEXTS.values() for name in re.findall(r"python -m ([\w.]+)", text)} - {"venv"})


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_every_command_line_is_one_that_the_command_takes_with_all_that_it_needs(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    command: click.Command = leukoscope
    context = click.Context(command)
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):  # the files are the reader's
            monkeypatch.setattr(parameter.type, "exists", False)
    if all(word.startswith("--") for word in words):  # it is named, not called
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        assert set(words) <= options
    else:
        command.make_context(line, words)


def test_the_readme_shows_the_commands_of_each_user() -> None:
    blocks = re.findall(r"```\n(.*?)```", TEXTS["README.md"], re.DOTALL)
    assert {line.split()[1] for block in blocks for line in block.splitlines() if line.startswith("leukoscope ")} >= {
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


@pytest.mark.parametrize("name", TEXTS)
def test_files_that_are_linked_or_named_exist(name: str) -> None:
    linked = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXTS[name])
    named = re.findall(r"`((?:edge_app|train|export|benchmarks|tests)/[\w./-]+)`", TEXTS[name])
    for path in [(ROOT / name).parent / each for each in linked] + [ROOT / each for each in named]:
        assert path.exists(), path


@pytest.mark.parametrize("name", MODULES)
def test_modules_that_are_run_are_there(name: str) -> None:
    assert importlib.util.find_spec(name) is not None


def test_links_into_a_page_name_a_heading_of_it() -> None:
    for name, text in PAGES.items():
        for page, heading in re.findall(r"\]\(([\w.-]*)#([^)]+)\)", text):
            headings = re.findall(r"^#+ (.*)$", PAGES[page or name], re.MULTILINE)
            assert heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, name


@pytest.mark.parametrize("package", ["benchmarks", "edge_app", "export", "train"])
def test_every_module_is_on_the_map(package: str) -> None:
    chapter = TEXTS["CONTRIBUTING.md"].partition("## Where things are\n")[2].partition("\n## ")[0]
    section = chapter.partition(f"**{package}**\n")[2].partition("\n**")[0]
    modules = {path.stem for path in (ROOT / package).glob("[!_]*.py")}
    folders = {f"{path.parent.name}/" for path in (ROOT / package).glob("*/__init__.py")}
    assert set(re.findall(r"`(\w+/?)`", section)) == modules | folders


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
