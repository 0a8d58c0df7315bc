import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_app.errors import LeukoscopeError
from train.report_words import percent
from train.results import command, read_kept, results_page
from train.run_metrics import RunMetrics, read_metrics

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def metrics(tiny_run: Path) -> RunMetrics:
    return read_metrics(tiny_run / "metrics.json")


def test_the_page_of_the_docs_is_what_its_runs_say() -> None:
    page = results_page(read_kept(DOCS / "results"))
    assert (DOCS / "results.md").read_text("utf-8") == page, "write it anew: python -m train.results"


def test_no_run_makes_no_row(tmp_path: Path) -> None:
    page = results_page(read_kept(tmp_path))
    assert "No run was taken in yet" in page
    assert "|" not in page


def test_each_run_has_a_row_beside_the_study_and_there_is_no_other(metrics: RunMetrics) -> None:
    random = metrics.replace(run=metrics.run.replace(split="random"))
    page = results_page({"one": random, "two": metrics})
    rows = [line.split(" | ") for line in page.partition("## By")[0].splitlines() if line.startswith("| YOLO")]
    assert [row[1].partition(":")[0] for row in rows] == [
        "ours, random split",
        "ours, scene split",
        "the study, printed",
        "the study, its outputs",
    ]
    assert rows[0][3] == percent(metrics.parts["test"].figures["accuracy"])
    assert rows[2][3] == "97.3"
    assert "YOLOv8s" not in page


def test_a_run_of_fewer_epochs_than_its_recipe_has_is_called_short(metrics: RunMetrics) -> None:
    """Whether it was cut off, or its own recipe was cut by --epochs."""
    page = results_page({"one": metrics})  # two epochs
    assert "ours, scene split: one, **short run**" in page
    assert metrics.recipe_epochs > metrics.run.recipe["epochs"]
    more = metrics.replace(run=metrics.run.replace(started_from="weights.pt"))
    assert "(short run: 2 of 46 epochs after those of weights.pt)" in results_page({"one": more})
    whole = metrics.replace(run=metrics.run.replace(epochs_run=metrics.recipe_epochs))
    assert "short run**" not in results_page({"one": whole})


def test_what_departs_from_the_study_is_said(metrics: RunMetrics) -> None:
    page = results_page({"one": metrics})
    assert "pretrained False (True)" in page
    assert "optimizer AdamW (SGD)" in page
    assert "input 64 × 64 (224 × 224)" in page


def test_stages_stand_apart(metrics: RunMetrics) -> None:
    stages = metrics.replace(run=metrics.run.replace(task="stages"), decision=metrics.decision.replace(positive=None))
    page = results_page({"four": stages, "two": metrics})
    assert "| four |" in page.partition("## Stages")[2].partition("##")[0]
    assert "four" not in page.partition("## Stages")[0]


def test_the_command_takes_runs_in_and_writes_the_page(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "my-run"
    run.mkdir()
    shutil.copy(tiny_run / "metrics.json", run)
    page = tmp_path / "docs" / "results.md"
    page.parent.mkdir()
    result = CliRunner().invoke(command, [str(run), "--output", str(page)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "docs" / "results" / "my-run.json").read_bytes() == (tiny_run / "metrics.json").read_bytes()
    assert "my-run" in page.read_text()
    assert CliRunner().invoke(command, ["--output", str(page)]).exit_code == 0
    assert "my-run" in page.read_text()


def test_a_run_that_was_not_evaluated_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LeukoscopeError, match="leukoscope evaluate"):
        command.main([str(tmp_path), "--output", str(tmp_path / "results.md")], standalone_mode=False)
    assert not (tmp_path / "results.md").exists()
