import json
import shutil
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.accuracy import measure_accuracy
from benchmarks.dataset import read_dataset
from benchmarks.labelled import find_labelled
from benchmarks.perturbations import KINDS, STRENGTHS, perturb
from benchmarks.result_files import read_results
from benchmarks.results import AccuracyResults, Perturbation, PerturbationKind
from edge_app.bundle import Bundle, assemble, default_bundle_path, open_bundle, write_bundle
from edge_app.cameras import open_camera
from edge_app.classifier import Classifier
from edge_app.cli import leukoscope
from edge_app.errors import DatasetError, InputError, LeukoscopeError
from edge_app.smears import draw_smear
from tests.bundles import tiny_bundle
from tests.conftest import draw_cells
from tests.interrupting import press_ctrl_c
from tests.tiny_models import onnx_model
from train.dataset import build_dataset
from train.drawing import draw_images

SHIPPED = default_bundle_path()
CLASSES = open_bundle(SHIPPED).manifest.classes


@pytest.fixture(scope="module")
def dataset(kaggle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures in the published layouts, prepared as the shipped bundle takes them."""
    folder = tmp_path_factory.mktemp("datasets") / "drawn"
    build_dataset([kaggle_folder], folder, preprocessing=open_bundle(SHIPPED).manifest.preprocessing)
    return folder


@pytest.fixture(scope="module")
def results(kaggle_folder: Path, silent: Path) -> AccuracyResults:
    """The shipped bundle and one that abstains from everything, on the published layouts."""
    return measure_accuracy([SHIPPED, silent], kaggle_folder)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "silent.leuko"
    limits = open_bundle(SHIPPED).manifest.limits
    write_bundle(path, changed(name="silent", limits=limits.replace(min_confidence=1.0)))
    return path


def changed(**changes: object) -> Bundle:
    """The shipped bundle with some fields of its manifest changed."""
    shipped = open_bundle(SHIPPED)
    return assemble(shipped.manifest.replace(**changes), {key: shipped.read(key) for key in shipped.manifest.files})


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(leukoscope, ["bench", "accuracy", *map(str, arguments)])


def test_an_image_is_judged_as_the_device_judges_its_file(results: AccuracyResults, kaggle_folder: Path) -> None:
    classifier = Classifier(open_bundle(SHIPPED))
    said = {}
    with open_camera(f"file://{kaggle_folder}") as camera:
        for frame in camera:
            said[Path(frame.source).name] = classifier.judge(frame).judgement
    run = results.runs[0]
    assert run.images == len(said) == 100
    assert sum(run.abstained.values()) == sum(each.label is None for each in said.values())
    assert run.coverage.value == pytest.approx(np.mean([each.label is not None for each in said.values()]))
    for mistake in run.mistakes:
        judgement = said[Path(mistake.image).name]
        assert (mistake.label, mistake.indeterminate) == (judgement.label, judgement.indeterminate)
        assert mistake.probability == pytest.approx(judgement.probabilities[mistake.named], abs=1e-6)
        assert mistake.named != mistake.truth


def test_figures_confusion_and_mistakes_agree(results: AccuracyResults) -> None:
    for run in results.runs:
        counts = np.array(run.confusion)
        assert counts.sum() == run.images
        assert run.figures["accuracy"].value == pytest.approx(np.trace(counts) / run.images)
        assert len(run.mistakes) == run.images - np.trace(counts)
        assert {"precision", "recall", "specificity", "f1", "auc", "ece"} <= run.figures.keys()
        assert run.strict["accuracy"].value <= min(run.figures["accuracy"].value, run.coverage.value)
        assert counts.sum(axis=1).tolist() == [results.data.images[name] for name in CLASSES]


def test_a_bundle_that_abstains_from_everything_answers_nothing_right(results: AccuracyResults) -> None:
    shipped, silent = results.runs
    assert silent.bundle.name == "silent"
    assert silent.figures == shipped.figures  # its model is the same
    assert (silent.coverage.value, silent.strict["accuracy"].value, silent.answered) == (0, 0, None)
    assert sum(silent.abstained.values()) == silent.images
    assert {name: figure.value for name, figure in silent.abstained_by_class.items()} == dict.fromkeys(CLASSES, 1)


def test_bundles_are_compared_with_each_other(results: AccuracyResults) -> None:
    for run, other in (results.runs, results.runs[::-1]):
        (agreement,) = run.agreement
        assert (agreement.name, agreement.sha256) == (other.bundle.name, other.bundle.sha256)
        assert (agreement.same_label.value, agreement.largest_probability_difference) == (1, 0)


def test_a_data_set_is_judged_alike_from_its_prepared_images_and_from_the_files(
    dataset: Path, kaggle_folder: Path, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "whole.leuko", changed(scale=None))  # the drawn pictures have no red cells
    (prepared,) = measure_accuracy([tmp_path / "whole.leuko"], dataset, part="all").runs
    from_files = measure_accuracy([tmp_path / "whole.leuko"], dataset, part="all", originals=kaggle_folder)
    (files,) = from_files.runs
    assert from_files.data.judged_from == "image files"
    assert (files.figures, files.confusion) == (prepared.figures, prepared.confusion)
    assert (files.coverage, files.abstained, files.strict) == (prepared.coverage, prepared.abstained, prepared.strict)


def test_only_the_test_part_of_a_bundle_s_own_data_set_is_held_out(dataset: Path, tmp_path: Path) -> None:
    write_bundle(tmp_path / "own.leuko", changed(dataset_sha256=read_dataset(dataset).list_sha256()))
    own, other = measure_accuracy([tmp_path / "own.leuko", SHIPPED], dataset).runs
    assert (own.held_out, other.held_out) == (True, None)
    assert not any("trained" in reason for reason in own.invalid)
    (seen,) = measure_accuracy([tmp_path / "own.leuko"], dataset, part="val").runs
    assert seen.held_out is False
    assert any("trained with the val part" in reason for reason in seen.invalid)


def test_few_images_make_no_benchmark(dataset: Path) -> None:
    (run,) = measure_accuracy([SHIPPED], dataset).runs
    assert run.images < 100
    assert any("only" in reason for reason in run.invalid)


def test_a_folder_a_class_is_enough(tmp_path: Path) -> None:
    for name in ("Benign", "Early", "Pre"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        draw_cells(tmp_path / "mine" / name / "1.png", 4, seed=1)
    write_bundle(tmp_path / "tiny.leuko", tiny_bundle(onnx_model(), task="of my own"))
    found = measure_accuracy([tmp_path / "tiny.leuko"], tmp_path / "mine")
    assert (found.data.layout, found.data.name) == ("class folders", "mine")
    assert found.data.images == {"Benign": 1, "Early": 1, "Pre": 1}
    assert "recall Early" in found.runs[0].figures


def test_a_class_without_images_is_told(tmp_path: Path) -> None:
    (tmp_path / CLASSES[0]).mkdir()
    draw_cells(tmp_path / CLASSES[0] / "1.png", 4, seed=1)
    (run,) = measure_accuracy([SHIPPED], tmp_path).runs
    assert f"no image of {CLASSES[1]}" in run.invalid


@pytest.mark.parametrize("kind", KINDS)
def test_the_stronger_a_perturbation_the_further_from_the_frame(kind: PerturbationKind) -> None:
    frame = draw_smear(1, kind="leukaemic", width=320, height=240).image
    before = frame.copy()
    distances = []
    for strength in STRENGTHS:
        worse = perturb(frame, Perturbation(kind=kind, strength=strength), seed=3)
        assert (worse.shape, worse.dtype) == (frame.shape, frame.dtype)
        assert np.array_equal(worse, perturb(frame, Perturbation(kind=kind, strength=strength), seed=3))
        distances.append(float(cv2.absdiff(worse, frame).mean()))
    assert 0 < distances[0] < distances[1] < distances[2]
    assert np.array_equal(frame, before)


def test_a_blur_is_the_same_to_the_model_at_any_frame_size() -> None:
    large = draw_smear(2, kind="leukaemic", width=640, height=480).image
    small = cv2.resize(large, (320, 240), interpolation=cv2.INTER_AREA)
    blur = Perturbation(kind="blur", strength=3)
    reduced = cv2.resize(perturb(large, blur, 0), (320, 240), interpolation=cv2.INTER_AREA)
    assert cv2.absdiff(reduced, perturb(np.asarray(small, np.uint8), blur, 0)).mean() < 1


def test_images_are_judged_made_worse_too(kaggle_folder: Path, dataset: Path, tmp_path: Path) -> None:
    limits = open_bundle(SHIPPED).manifest.limits
    write_bundle(tmp_path / "light.leuko", changed(limits=limits.replace(min_brightness=120), scale=None))
    found = measure_accuracy([tmp_path / "light.leuko"], dataset, originals=kaggle_folder, kinds=["brightness"])
    assert [run.perturbation and run.perturbation.strength for run in found.runs] == [None, 1, 2, 3]
    plain, *_, dark = found.runs
    assert "too_dark" not in plain.abstained
    assert dark.abstained == {"too_dark": dark.images}
    assert all(run.agreement == () for run in found.runs)  # a bundle is not compared with itself


def test_one_that_is_interrupted_keeps_the_bundles_that_judged_everything(dataset: Path, silent: Path) -> None:
    def on_progress(done: int, total: int, name: str) -> None:
        if name == "silent" and done < total:
            press_ctrl_c()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    try:
        found = measure_accuracy([SHIPPED, silent], dataset, on_progress=on_progress)
        assert [run.bundle.sha256 for run in found.runs] == [open_bundle(SHIPPED).sha256]
        with pytest.raises(KeyboardInterrupt):
            measure_accuracy([silent], dataset, on_progress=on_progress)
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_command_writes_and_prints_the_figures(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "accuracy.json"
    result = call("--data", dataset, "--output", output)
    assert result.exit_code == 0, result.output
    found = read_results(output)
    assert isinstance(found, AccuracyResults)
    assert "coverage" in result.stdout
    assert "specificity" in result.stdout
    assert "invalid: only" in result.stdout
    assert AccuracyResults.model_validate_json(call("--data", dataset, "--json").stdout).data == found.data


def test_a_picture_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / name).mkdir()
        draw_cells(tmp_path / name / "1.png", 4, seed=1)
    (tmp_path / CLASSES[0] / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"2\.png is empty"):
        measure_accuracy([SHIPPED], tmp_path)


def test_originals_that_changed_are_not_taken_for_those_of_the_data_set(
    dataset: Path, kaggle_folder: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(kaggle_folder, copy)
    file = next(copy.rglob("WBC-Benign-001.jpg"))
    draw_cells(file, 9, seed=99)
    with pytest.raises(InputError, match=r"1 of 100 images .*WBC-Benign-001\.jpg"):
        find_labelled(dataset, "normal-cancer", CLASSES, "all", copy)


def test_a_table_of_own_images_that_can_not_be_read_is_not_passed_over(tmp_path: Path) -> None:
    draw_images(tmp_path / "own", 1)
    (tmp_path / "own" / "groups.csv").write_text("class;file;group\nCancer;drawn-0001.png;a\n")
    with pytest.raises(DatasetError, match="is no group table"):
        find_labelled(tmp_path / "own", "normal-cancer", CLASSES)


def test_mistakes_of_the_user_are_one_sentence_each(
    dataset: Path, kaggle_folder: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    write_bundle(tmp_path / "tiny.leuko", tiny_bundle(onnx_model()))
    (tmp_path / "empty").mkdir()
    cases: list[tuple[list[str | Path], type[LeukoscopeError], str]] = [
        (["--data", tmp_path / "none"], InputError, "there is no folder"),
        (["--data", tmp_path / "empty"], InputError, "a subfolder a class"),
        (["--data", dataset, "--perturb", "blur"], InputError, "--images"),
        (["--data", kaggle_folder, "--images", kaggle_folder], InputError, "leave out --images"),
        (["--data", tiny_dataset], InputError, "prepared otherwise"),
        ([SHIPPED, tmp_path / "tiny.leuko", "--data", dataset], InputError, "other classes"),
        ([tmp_path / "tiny.leuko", "--data", dataset], InputError, "has the classes"),
        ([tmp_path / "tiny.leuko", "--data", kaggle_folder], InputError, "images of Pro"),
        (["--data", dataset, "--output", tmp_path / "none" / "x.json"], InputError, "can't be written"),
    ]
    for arguments, kind, words in cases:
        result = call(*arguments)
        assert isinstance(result.exception, kind), (arguments, result.output, result.exception)
        assert words in str(result.exception)
        assert "\n" not in str(result.exception)


def test_a_data_set_whose_image_changed_is_refused(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    file = copy / read_dataset(copy).select("test")[0].path
    file.write_bytes(b"x")
    with pytest.raises(DatasetError, match="not the file that was built"):
        measure_accuracy([SHIPPED], copy)
    (copy / "manifest.json").write_text(json.dumps({"files": []}))
    with pytest.raises(DatasetError):
        measure_accuracy([SHIPPED], copy)
