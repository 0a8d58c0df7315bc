import csv
import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_app import errors
from edge_app.cli import leukoscope
from edge_app.store import Record, Session, open_store
from tests.store_verdicts import SimulatedClock, keep_one


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(leukoscope, ["records", *map(str, arguments)], env={"LEUKOSCOPE_SETTINGS": None})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "records"


@pytest.fixture
def kept(folder: Path) -> list[Record]:
    """A labelled one, an indeterminate one, and one of an unset clock that a person labelled."""
    clock = SimulatedClock()
    with open_store(folder, device="scope-1", clock=clock) as store:
        first = keep_one(store, clock=clock, session=Session(slide="A12"))
        clock.pass_by(days=1)
        second = keep_one(store, clock=clock, label=None)
        clock.pass_by(days=1)
        clock.is_set = False
        third = store.annotate(keep_one(store, clock=clock).id, "Blast", "")
    return [first, second, third]


def test_list_shows_the_newest_first(folder: Path, kept: list[Record]) -> None:
    result = call("list", "--folder", folder)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == [record.id for record in kept[::-1]]
    assert "2027-03-03 12:00:00? scope-1" in lines[0]
    assert "own label: Blast" in lines[0]
    assert "indeterminate (out_of_focus)" in lines[1]
    assert "2027-03-01 12:00:00  scope-1  slide A12  Cancer" in lines[2]
    assert "3 of 3 records" in result.stderr


def test_list_as_json_has_all_there_is(folder: Path, kept: list[Record]) -> None:
    result = call("list", "--folder", folder, "--json", "--limit", "2")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [kept[2].as_json(), kept[1].as_json()]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (["--label", "Cancer"], [2, 0]),
        (["--indeterminate"], [1]),
        (["--judged"], [2, 0]),
        (["--own-label", "Blast"], [2]),
        (["--slide", "A12"], [0]),
        (["--since", "2027-03-02"], [2, 1]),
        (["--until", "2027-03-02T12:00"], [0]),
        (["--text", "blas"], [2]),
        (["--operator", "Ada"], []),
        (["--deleted"], []),
    ],
)
def test_list_finds_what_is_asked_for(asked: list[str], wanted: list[int], folder: Path, kept: list[Record]) -> None:
    result = call("list", "--folder", folder, "--json", *asked)
    assert [json.loads(line)["id"] for line in result.stdout.splitlines()] == [kept[number].id for number in wanted]


def test_the_settings_say_where_the_records_are(folder: Path, kept: list[Record], tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(f"records:\n  folder: {folder}\n")
    result = call("list", "--settings", tmp_path / "settings.yaml", "--json")
    assert len(result.stdout.splitlines()) == len(kept), result.output


def test_export_writes_a_table_or_an_archive(folder: Path, kept: list[Record], tmp_path: Path) -> None:
    result = call("export", tmp_path / "all.csv", "--folder", folder)
    assert "3 records written" in result.stderr, result.output
    with (tmp_path / "all.csv").open(newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == [record.id for record in kept[::-1]]
    result = call("export", tmp_path / "one.zip", "--folder", folder, "--slide", "A12", "--overlay")
    assert "1 records written" in result.stderr, result.output
    names = zipfile.ZipFile(tmp_path / "one.zip").namelist()
    assert names == [f"images/{kept[0].image}", f"overlays/{kept[0].id}.jpg", "records.csv", "manifest.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.csv", "one.zip", "records"]


def test_export_overwrites_nothing(folder: Path, kept: list[Record], tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("mine")
    result = call("export", tmp_path / "all.csv", "--folder", folder)
    assert isinstance(result.exception, errors.StoreError)
    assert "exists already" in str(result.exception)
    assert (tmp_path / "all.csv").read_text() == "mine"
    assert kept


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["list", "--folder", "none"], 12, "there are no records"),
        (["list", "--folder", ".", "--database", "mysql://x"], 12, "names 'mysql'"),
        (["list", "--folder", "."], 12, "there are no records"),
        (["list", "--text", "x" * 201], 2, "--text"),
        (["list", "--own-label", "a\nb"], 2, "--own-label"),
        (["export", "x.txt"], 2, "NAME.zip or NAME.csv"),
        (["export", "x.csv", "--overlay"], 2, "--overlay"),
        (["export", "none/x.csv"], 12, "can't be written"),
    ],
)
def test_a_mistake_is_a_sentence(
    arguments: list[str], code: int, words: str, tmp_path: Path, kept: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    if arguments[0] == "export":
        arguments = [*arguments, "--folder", str(tmp_path / "records")]
    result = call(*arguments)
    if isinstance(result.exception, errors.LeukoscopeError):
        assert (result.exception.exit_code, words in str(result.exception)) == (code, True), result.exception
    else:
        assert (result.exit_code, words in result.output) == (code, True), result.output
    assert not list((tmp_path / "empty").glob("*.csv"))
    assert kept


@pytest.mark.parametrize("name", ["list", "export"])
def test_each_subcommand_has_help_with_an_example(name: str) -> None:
    assert "Example: leukoscope records" in call(name, "--help").output
