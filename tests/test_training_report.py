import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.dataset import DatasetFile, read_dataset
from benchmarks.metrics import expected_calibration_error
from benchmarks.perturbations import KINDS, STRENGTHS
from benchmarks.run_folder import Epoch, Evaluation, read_record
from edge_app.cli import leukoscope
from edge_app.errors import DatasetError, TrainingError
from edge_app.judging import Decision, Limits, softmax
from edge_app.preprocessing import Preprocessing
from tests.full_disk import small_files
from train.commands.evaluate import print_evaluation
from train.dataset import build_dataset
from train.evaluation import evaluate
from train.measuring import measure_part
from train.published import PUBLISHED
from train.report_plots import history_plots
from train.report_sections import sections
from train.report_words import percent
from train.robustness import measure_robustness, sample
from train.run_metrics import SCHEMA_FILE, PartMetrics, RunMetrics, metrics_schema, read_metrics

BINARY = ("Cancer", "Normal")
POSITIVE = Decision(positive="Cancer")


@pytest.fixture(scope="module")
def metrics(tiny_run: Path) -> RunMetrics:
    return read_metrics(tiny_run / "metrics.json")


@pytest.fixture(scope="module")
def limits(tiny_run: Path) -> Limits:
    return read_record(tiny_run / "evaluation.json", Evaluation).limits.replace(min_confidence=0.6)


@pytest.fixture(scope="module")
def files(tiny_dataset: Path) -> list[DatasetFile]:
    return list(read_dataset(tiny_dataset).files)


def draw(files: list[DatasetFile], classes: tuple[str, ...], skill: float = 1.5) -> np.ndarray:
    """Return logits of a classifier that is right more often than not."""
    truths = [classes.index(file.label) for file in files]
    noise = np.random.default_rng(3).normal(size=(len(files), len(classes)))
    return (noise + skill * np.eye(len(classes))[truths]).astype(np.float32)


def page_of(run: Path) -> str:
    return (run / "report.html").read_text("utf-8")


def test_the_report_has_its_parts_and_says_what_metrics_json_says(tiny_run: Path, metrics: RunMetrics) -> None:
    page, test = page_of(tiny_run), metrics.parts["test"]
    for title in (
        "In short",
        "Table IV",
        "Course",
        "Confusion",
        "probabilities",
        "no label",
        "Mistakes",
        "What was run",
    ):
        assert re.search(f"<h2>[^<]*{title}", page), title
    assert f"Accuracy {percent(test.figures['accuracy'])} % on {sum(test.images.values())} test images" in page
    for figures in (test.figures, metrics.parts["val"].figures):
        for figure in figures.values():
            assert percent(figure) in page
    for count in np.ravel(test.confusion):
        assert f">{count}</text>" in page
    for mistake in test.mistakes:
        assert f"called {mistake.named} at {mistake.probability:.1%}" in page
    assert page.count("data:image/jpeg") >= len(test.mistakes)
    assert metrics.run.weights_sha256 in page


def test_the_report_loads_nothing_and_says_that_it_is_private(tiny_run: Path) -> None:
    page = page_of(tiny_run)
    assert "This page is private" in page
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert not re.search(r"url\((?!#)", page)


def test_metrics_and_evaluation_agree_and_no_path_of_the_machine_is_told(tiny_run: Path, metrics: RunMetrics) -> None:
    evaluation = read_record(tiny_run / "evaluation.json", Evaluation)
    assert (metrics.decision, metrics.limits) == (evaluation.decision, evaluation.limits)
    for measured in evaluation.measured:
        part = metrics.parts[measured.part]  # type: ignore[index]
        assert measured.figures == part.figures
        assert evaluation.confusion[measured.part] == part.confusion
    assert metrics.run.dataset_path == "tiny"
    assert str(tiny_run.parent) not in (tiny_run / "metrics.json").read_text()


def test_evaluating_again_gives_the_same_figures_and_plots(tiny_run: Path, metrics: RunMetrics, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("ultralytics"))
    evaluate(run, robustness_images=0)
    assert read_metrics(run / "metrics.json").replace(made_at=metrics.made_at) == metrics.replace(robustness=None)
    plots = [re.findall("<svg.*?</svg>", page_of(each), re.DOTALL) for each in (run, tiny_run)]
    assert set(plots[0]) < set(plots[1])


def test_the_published_schema_is_that_of_the_records() -> None:
    assert SCHEMA_FILE.read_text("utf-8") == metrics_schema(), "write it anew: python -m train.run_metrics"


def test_a_run_that_was_not_evaluated_says_how(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"can't be read.*leukoscope evaluate"):
        read_metrics(tmp_path / "metrics.json")
    (tmp_path / "metrics.json").write_text('{"format_version": 2}')
    with pytest.raises(TrainingError, match=r"does not fit this version.*again with leukoscope evaluate"):
        read_metrics(tmp_path / "metrics.json")


def test_coverage_and_risk_at_the_limit_count_what_is_answered(files: list[DatasetFile], limits: Limits) -> None:
    logits = draw(files, BINARY)
    part = measure_part(logits, files, BINARY, POSITIVE, limits)
    sure = softmax(logits, 1.0).max(axis=1)
    right = np.array([BINARY[named] == file.label for named, file in zip(logits.argmax(axis=1), files, strict=True)])
    assert part.answered.coverage.value == pytest.approx((sure >= 0.6).mean())
    assert part.answered.risk is not None
    assert part.answered.risk.value == pytest.approx(1 - right[sure >= 0.6].mean())
    assert part.risks[0].coverage == 1
    assert part.risks[0].risk == pytest.approx(1 - part.figures["accuracy"].value, abs=1e-6)
    coverages = [each.coverage for each in part.risks]
    assert coverages == sorted(coverages, reverse=True)
    assert len(part.mistakes) == np.count_nonzero(~right)
    assert part.abstained["low_confidence"] <= np.count_nonzero(sure < 0.6)


def test_the_bins_of_the_reliability_give_the_calibration_error(files: list[DatasetFile], limits: Limits) -> None:
    logits = draw(files, BINARY)
    part = measure_part(logits, files, BINARY, POSITIVE, limits)
    truths = np.array([BINARY.index(file.label) for file in files])
    gaps = [each.images * abs(each.confidence - each.accuracy.value) for each in part.reliability]
    error = expected_calibration_error(softmax(logits, 1.0), truths)
    assert sum(gaps) / len(files) == pytest.approx(error, abs=1e-6)
    assert part.figures["ece"].value == pytest.approx(error)


def test_every_figure_is_also_given_by_published_data_set(files: list[DatasetFile], limits: Limits) -> None:
    part = measure_part(draw(files, BINARY), files, BINARY, POSITIVE, limits)
    assert set(part.by_source) == {"ALL image dataset", "ALL-IDB1"}
    assert sum(each.images for each in part.by_source.values()) == len(files)
    summed = np.sum([each.confusion for each in part.by_source.values()], axis=0)
    assert summed.tolist() == np.array(part.confusion).tolist()
    assert all(each.figures.keys() == part.figures.keys() for each in part.by_source.values())


def test_frames_get_a_verdict_from_their_fields(metrics: RunMetrics, files: list[DatasetFile], limits: Limits) -> None:
    """Two frames of leukaemia, one of which shows it in one of two fields, and a healthy one."""
    whole = [file for file in files if file.source == "ALL-IDB1"]
    ill = [file for file in whole if file.label == "Cancer"][:4]
    well = [file for file in whole if file.label == "Normal"][:2]
    fields = [file.replace(box=(0, 0, 48, 96), frame=f"frame {row // 2}") for row, file in enumerate([*ill, *well])]
    logits = np.array([(4, -4)] + [(-4, 4)] * 5, np.float32)  # the first one alone is called Cancer
    part = measure_part(logits, fields, BINARY, POSITIVE, limits)
    (frames,) = part.frames
    together = measure_part(logits, [each.replace(group="one slide") for each in fields], BINARY, POSITIVE, limits)
    auc = together.frames[0].figures["auc"]
    assert auc.low == auc.high == auc.value  # a bootstrap over scene groups, of which there is one
    assert (frames.source, frames.frames, frames.fields) == ("ALL-IDB1", {"Cancer": 2, "Normal": 1}, 6)
    assert frames.confusion == ((1, 1), (0, 1))
    assert part.confusion == ((1, 3), (0, 2))
    assert frames.figures["recall"].value == 0.5
    assert frames.figures["specificity"].value == 1
    table = next(
        each.table for each in sections(metrics.replace(parts={"val": part, "test": part})) if "Frames" in each.title
    )
    assert table is not None
    assert ("recall (sensitivity)", *[percent(frames.figures["recall"])] * 2) in table.rows
    assert measure_part(draw(whole, BINARY), whole, BINARY, POSITIVE, limits).frames == ()


def test_a_part_without_a_class_has_no_figures_of_it(
    metrics: RunMetrics, files: list[DatasetFile], limits: Limits
) -> None:
    healthy = [file for file in files if file.label == "Normal"]
    part = measure_part(draw(healthy, BINARY), healthy, BINARY, POSITIVE, limits)
    assert part.images == {"Cancer": 0, "Normal": len(healthy)}
    assert part.figures.keys().isdisjoint({"recall", "auc"})
    assert part.roc == {}
    found = sections(metrics.replace(parts={"val": part, "test": part}))
    table = next(each.table for each in found if each.title.startswith("Table IV"))
    assert table is not None
    assert next(row for row in table.rows if row[0].startswith("recall"))[-1] == "–"


def test_one_image_and_one_epoch_make_a_report(metrics: RunMetrics, files: list[DatasetFile], limits: Limits) -> None:
    part = measure_part(draw(files[:1], BINARY), files[:1], BINARY, POSITIVE, limits)
    found = sections(metrics.replace(parts={"val": part, "test": part}, history=metrics.history[:1]))
    assert found[0].advice[0].endswith("on 1 test images of the scene split.")


def test_without_a_history_the_report_says_so(metrics: RunMetrics) -> None:
    course = next(each for each in sections(metrics.replace(history=())) if each.title.startswith("Course"))
    assert course.plots == ()
    assert "no history.csv" in course.text[0]


def test_an_image_that_is_gone_leaves_nothing_half_made(tiny_run: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    """Whether it is to be judged or only to be shown."""
    run, dataset = tmp_path / "run", tmp_path / "dataset"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("ultralytics", "*.html", "metrics.json"))
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for gone in ("test", "raw/test"):
        shutil.rmtree(dataset, ignore_errors=True)
        shutil.copytree(tiny_dataset, dataset)
        shutil.rmtree(dataset / gone)
        with pytest.raises(DatasetError, match="build the data set again"):
            evaluate(run, dataset, robustness_images=1)
        assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_a_run_whose_data_set_was_built_otherwise_is_not_measured(
    tiny_run: Path, kaggle_folder: Path, tmp_path: Path
) -> None:
    build_dataset([kaggle_folder], tmp_path / "other", seed=5, preprocessing=Preprocessing(height=64, width=64))
    with pytest.raises(TrainingError, match="--data"):
        evaluate(tiny_run, tmp_path / "other")


def test_stages_have_recalls_by_class_and_no_table_iv(
    kaggle_folder: Path, metrics: RunMetrics, limits: Limits, tmp_path: Path
) -> None:
    manifest = build_dataset(
        [kaggle_folder], tmp_path / "stages", task="stages", preprocessing=Preprocessing(height=32, width=32)
    )
    part = measure_part(
        draw(list(manifest.files), manifest.classes), manifest.files, manifest.classes, Decision(), limits
    )
    assert set(part.roc) == set(manifest.classes)
    run = metrics.run.replace(task="stages", classes=manifest.classes)
    found = sections(metrics.replace(run=run, decision=Decision(), parts={"val": part, "test": part}))
    assert not any(each.title.startswith("Table IV") for each in found)
    figures = next(each.table for each in found if each.title.startswith("Figures"))
    assert figures is not None
    assert {"recall Benign", "recall Early", "recall Pre", "recall Pro"} <= {row[0] for row in figures.rows}


def test_the_study_and_both_splits_stand_side_by_side(metrics: RunMetrics, part_of_random: PartMetrics) -> None:
    sibling = metrics.replace(
        run=metrics.run.replace(split="random"), parts={"val": part_of_random, "test": part_of_random}
    )
    found = sections(metrics, sibling)
    table = next(each.table for each in found if each.title.startswith("Table IV"))
    assert table is not None
    assert [column.title for column in table.columns] == [
        "figure, %",
        "printed",
        "its outputs",
        "ours, random split",
        "ours, scene split",
    ]
    accuracy = table.rows[0]
    assert accuracy[1:3] == ("97.3", "97.3")
    assert accuracy[3:] == tuple(percent(each.parts["test"].figures["accuracy"]) for each in (sibling, metrics))


@pytest.fixture(scope="module")
def part_of_random(files: list[DatasetFile], limits: Limits) -> PartMetrics:
    return measure_part(draw(files, BINARY), files, BINARY, POSITIVE, limits)


def test_only_a_run_by_the_same_recipe_on_the_other_split_stands_beside(
    tiny_run: Path, metrics: RunMetrics, tmp_path: Path
) -> None:
    for changes, message in (
        ({}, "scene split too"),
        ({"split": "random", "recipe": metrics.run.recipe | {"epochs": 99}}, "same recipe"),
    ):
        changed = metrics.replace(run=metrics.run.replace(**changes))
        (tmp_path / "metrics.json").write_text(changed.model_dump_json())
        with pytest.raises(TrainingError, match=message):
            evaluate(tiny_run, sibling=tmp_path)


def test_the_published_figures_are_those_of_its_confusion_matrices() -> None:
    """427 and 84 images; the figures that its text gives for the same matrices."""
    inception = PUBLISHED["inception_resnet_v2"].counted
    assert inception["recall"] == 1
    assert inception["precision"] == pytest.approx(0.979, abs=5e-4)
    assert inception["specificity"] == pytest.approx(0.893, abs=5e-4)
    assert PUBLISHED["resnet50"].counted["accuracy"] == pytest.approx(0.988, abs=5e-4)


def test_the_command_says_where_the_report_is(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("ultralytics"))
    result = CliRunner().invoke(leukoscope, ["evaluate", str(run), "--no-robustness"])
    assert result.exit_code == 0, result.output
    assert "report.html" in result.output.replace("\n", "")


def test_a_figure_that_one_part_alone_has_is_printed(tiny_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evaluation = read_record(tiny_run / "evaluation.json", Evaluation)
    val, test = evaluation.measured
    test = test.replace(figures={"accuracy": test.figures["accuracy"]})  # without an image of a class
    print_evaluation(evaluation.replace(measured=(val, test)), tiny_run)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "specificity" in line]
    assert "–" in line


def test_a_full_disk_is_one_sentence_and_leaves_the_files_before(tiny_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("ultralytics"))
    before = page_of(run)
    with small_files(1000), pytest.raises(TrainingError, match="make room there and evaluate again"):
        evaluate(run, robustness_images=0)
    assert page_of(run) == before


def by_stain(images: np.ndarray) -> np.ndarray:
    """Return logits that call an image Cancer where it shows the light of more than two and a half cells."""
    cells = images.astype(float).sum(axis=(1, 2, 3)) / LIGHT_OF_A_CELL
    return np.stack([cells - 2.5, 2.5 - cells], axis=1).astype(np.float32)


LIGHT_OF_A_CELL = 18_000  # of conftest's drawn cells in a picture of 64 pixels, all channels


def test_the_worse_the_images_the_worse_the_figures_and_the_limits_refuse_them(
    tiny_dataset: Path, limits: Limits
) -> None:
    manifest = read_dataset(tiny_dataset)
    files = sample(manifest, 100, seed=0)
    found = measure_robustness(tiny_dataset, manifest, files, by_stain, POSITIVE, limits, seed=0)
    assert sum(found.images.values()) == len(files)
    kinds = [row.perturbation and (row.perturbation.kind, row.perturbation.strength) for row in found.rows]
    assert kinds == [None, *((kind, strength) for kind in KINDS for strength in STRENGTHS)]
    dark = [found.rows[0], *(row for row in found.rows if row.perturbation and row.perturbation.kind == "brightness")]
    recalls = [row.figures["recall"].value for row in dark]
    assert recalls == sorted(recalls, reverse=True)
    assert recalls[-1] < recalls[0]
    assert [row.abstained.value for row in dark[1:]] == [1, 1, 1]  # too dark
    assert dark[-1].answered is None
    assert dark[0].abstained.value < 1
    assert measure_robustness(tiny_dataset, manifest, files, by_stain, POSITIVE, limits, seed=0) == found


def test_the_sample_has_so_many_of_each_class_of_the_test_part(tiny_dataset: Path) -> None:
    manifest = read_dataset(tiny_dataset)
    chosen = sample(manifest, 3, seed=1)
    assert [file.label for file in chosen] == ["Cancer"] * 3 + ["Normal"] * 3
    assert {file.part for file in chosen} == {"test"}
    assert chosen == sample(manifest, 3, seed=1) != sample(manifest, 3, seed=2)


def test_robustness_can_be_left_out(metrics: RunMetrics) -> None:
    assert metrics.robustness is not None
    titles = [each.title for each in sections(metrics.replace(robustness=None))]
    assert not any(title.startswith("Robustness") for title in titles)


@pytest.mark.parametrize("epochs", [1, 3, 22])
def test_epochs_on_the_axis_are_whole_numbers(epochs: int) -> None:
    history = [
        Epoch(
            epoch=each,
            seconds=1,
            learning_rate=0.1,
            train_loss=0.3,
            train_accuracy=None,
            val_loss=0.1,
            val_accuracy=0.9,
        )
        for each in range(1, epochs + 1)
    ]
    for plot in history_plots(history, 1):
        before_its_name = re.findall(r"<text[^>]*>([^<]+)</text>", plot.partition(">epoch<")[0])
        assert before_its_name
        assert all(each.isdigit() for each in before_its_name)
