import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.latency import PRESETS
from benchmarks.page import html, markdown
from benchmarks.peers import measure
from benchmarks.peers_pipelines import Image, Question, by_hand, opencv_dnn, segment
from benchmarks.report import collect
from benchmarks.report_sections import TITLE, sections
from benchmarks.results import Minimum
from benchmarks.run_folder import RunRecord
from edge_app.bundle import Bundle, assemble, golden_npz, open_bundle, write_bundle
from edge_app.cli import leukoscope
from edge_app.errors import InputError, TrainingError
from edge_app.preprocessing import Preprocessing, prepare
from edge_app.smears import draw_smear
from tests.bundles import IMAGES, tiny_manifest
from tests.results import STARTED

SIDE = 64
FRAMES: list[Image] = [
    draw_smear(1, kind="leukaemic", height=240, width=320).image,
    draw_smear(2, kind="healthy", height=240, width=320).image,
]
SHORT = Minimum(queries=3, seconds=0)
PAPER = Preprocessing(height=SIDE, width=SIDE)
CLASSES = ("Cancer", "Normal")
WEIGHTS = b"weights"
QUESTION = Question(CLASSES, PAPER.hsv_low, PAPER.hsv_high, PAPER.opening, SIDE)

# Ultralytics takes seconds to start and longer to export, so the quick tests have this in its place; a slow one has it.
STAND_IN = """
import shutil
from pathlib import Path
from types import SimpleNamespace

class YOLO:
    def __init__(self, model, task):
        self.weights = Path(model)

    def export(self, format, **options):
        if format == "openvino":
            raise ModuleNotFoundError("No module named 'openvino'", name="openvino")
        if format == "litert":
            raise RuntimeError("this network can't be converted")
        return shutil.copy(Path(__file__).with_name("network.onnx"), self.weights.with_suffix(".onnx"))

    def predict(self, picture, **options):
        print("chatter on stdout")
        return [SimpleNamespace(names={0: "Cancer", 1: "Normal"}, probs=SimpleNamespace(top1=0))]
"""


def network(*, of_pixels: bool) -> bytes:
    """An ONNX model to which a picture is Cancer when it is bright enough.

    of_pixels: as in a bundle, uint8 [1, H, W, 3] → logits; else as Ultralytics exports one, float32 [1, 3, H, W] from 0
    to 1 → probabilities.
    """
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "dense": np.array([[100, 0], [100, 0], [100, 0]], np.float32),
        "bias": np.array([-20, 0], np.float32),
        "white": np.array(255, np.float32),
    }
    prepared = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "white"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
    ]
    nodes = [
        helper.make_node("GlobalAveragePool", ["planes" if of_pixels else "images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "dense", "bias"], ["answer" if of_pixels else "logits"]),
    ]
    nodes = [*prepared, *nodes] if of_pixels else [*nodes, helper.make_node("Softmax", ["logits"], ["answer"])]
    kind, shape = (TensorProto.UINT8, [1, SIDE, SIDE, 3]) if of_pixels else (TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", kind, shape)],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def bundle_of(weights: bytes, name: str = "bright", **changes: object) -> Bundle:
    """A bundle of the network, said to be made from some weights."""
    inputs = np.zeros((IMAGES, SIDE, SIDE, 3), np.uint8)
    members = {
        "model.onnx": network(of_pixels=True),
        "golden.npz": golden_npz(inputs, np.tile(np.array([[-20, 0]], np.float32), (IMAGES, 1))),
        "MODEL_CARD.md": b"# Bright or not",
    }
    sha256 = hashlib.sha256(weights).hexdigest()
    fields = {"name": name, "classes": CLASSES, "preprocessing": PAPER, "weights_sha256": sha256, **changes}
    return assemble(tiny_manifest(members, **fields), members)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a finished training run; what its weights are, the stand-in does not ask."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "weights.pt").write_bytes(WEIGHTS)
    record = RunRecord(
        model="yolo11n",
        recipe={},
        task="normal-cancer",
        split="scene",
        classes=CLASSES,
        dataset_path="nowhere",
        dataset_sha256="1" * 64,
        started_from="nothing",
        weights_sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        best_epoch=1,
        epochs_run=1,
        seconds=1,
        finished_at=STARTED,
        device="cpu",
        machine="x86_64",
        python="3.11",
        leukoscope="0.1.0",
        libraries={},
    )
    (folder / "run.json").write_text(record.model_dump_json())
    return folder


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package `ultralytics` that is found before the real one by processes that the test starts."""
    package = tmp_path / "packages" / "ultralytics"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN)
    (package / "network.onnx").write_bytes(network(of_pixels=False))
    (package.parent / "torchvision.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")])))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    path.write_bytes(network(of_pixels=False))
    return path


def test_the_plain_steps_segment_as_the_app_does() -> None:
    for frame in FRAMES:
        ours = prepare(frame, PAPER).model_input[0]
        assert np.array_equal(segment(frame, QUESTION)[..., ::-1], ours)


def test_ways_by_hand_give_the_class_of_a_bright_and_of_a_black_picture(model: Path) -> None:
    stained = np.full((120, 160, 3), (200, 60, 150), np.uint8)
    pale = np.full((120, 160, 3), 235, np.uint8)  # nothing is stained: all is black after segmentation
    for start in (by_hand, opencv_dnn):
        judge = start(model, QUESTION)
        assert [judge(frame) for frame in (stained, pale)] == ["Cancer", "Normal"]


@pytest.mark.usefixtures("stand_in")
def test_all_ways_are_measured_in_one_run_and_those_that_can_not_be_are_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "rapid", SHORT)
    bundles = [tmp_path / "bright.leuko", tmp_path / "again.leuko"]
    for path in bundles:
        write_bundle(path, bundle_of(WEIGHTS, path.stem))
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(FRAMES):
        cv2.imwrite(str(tmp_path / "frames" / f"{number}.png"), frame)
    output = tmp_path / "peers.json"
    options: list[str | Path] = [
        "--rounds",
        "1",
        "--preset",
        "rapid",
        "--frames",
        tmp_path / "frames",
        "--output",
        output,
    ]
    done = call(*bundles, "--run", run, *options)
    assert done.exit_code == 0, done.output
    assert "| the study's steps, through a file |" in done.stdout
    (results,) = collect([output]).peers
    assert [each.way.partition(" ")[0] for each in results.runs] == [
        *("leukoscope", "leukoscope", "floor", "floor"),
        *("ultralytics-onnx", "ultralytics-pytorch", "by-hand", "opencv-dnn", "paper"),
    ]
    assert {each.way: each.reason for each in results.not_measured} == {
        "ultralytics-openvino": "not installed: openvino",
        "ultralytics-litert": "failed: RuntimeError: this network can't be converted",
    }
    assert (results.rounds, results.frames, str(results.size), results.invalid) == (1, 2, "320x240", ())
    reference = results.runs[0]
    assert set(reference.ratios.model_dump().values()) == {1.0}
    for each in results.runs:
        assert each.frame.median.count == SHORT.queries
        assert len(each.labels) == each.compared == len(FRAMES)
        assert each.peak_memory_bytes.median > 2**20
        assert each.first_verdict_ms.median > each.frame.median.p50_ms
        if not each.way.startswith(("ultralytics", "paper")):  # the stand-in knows but one answer
            assert each.labels == reference.labels == ("Cancer", "Normal")


@pytest.mark.usefixtures("stand_in")
def test_a_run_that_is_stopped_keeps_its_whole_rounds_and_is_invalid(run: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int, text: str) -> None:  # noqa: ARG001
        if text.startswith("round 2 of 2: floor"):
            raise KeyboardInterrupt

    results = measure(run, [bundle_of(WEIGHTS)], FRAMES, rounds=2, minimum=SHORT, notify=stop)
    assert results.rounds == 1
    assert {len(each.frame.repeats) for each in results.runs} == {1}
    assert results.invalid == ("stopped after 1 of 2 rounds",)
    path = tmp_path / "peers.json"
    path.write_text(results.model_dump_json())
    parts = sections(collect([path]), {})
    for text in (html(TITLE, parts, STARTED), markdown(TITLE, parts, STARTED)):
        assert "INVALID: stopped after 1 of 2 rounds" in text
        assert "this network can&#x27;t be converted" in text.replace("'", "&#x27;")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(leukoscope, ["bench", "peers", *map(str, arguments)])


def test_bundles_that_can_not_be_compared_are_refused(run: Path) -> None:
    fit = bundle_of(WEIGHTS)
    for other, words in (
        (bundle_of(b"others"), "made from other weights than the run's"),
        (bundle_of(WEIGHTS, classes=("Cancer", "None")), "prepares frames otherwise than bright"),
        (bundle_of(WEIGHTS, preprocessing=PAPER.replace(opening=5)), "prepares frames otherwise than bright"),
    ):
        with pytest.raises(InputError, match=words):
            measure(run, [fit, other], FRAMES, rounds=1, minimum=SHORT)


def test_a_run_of_keras_is_refused(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"framework": "keras", "weights_file": "model.keras"}))
    (run / "model.keras").write_bytes(WEIGHTS)
    with pytest.raises(InputError, match="name a run of a YOLO model"):
        measure(run, [bundle_of(WEIGHTS)], FRAMES, rounds=1, minimum=SHORT)


@pytest.mark.parametrize("size", ["1280", "x", "1280x", "-1x5"])
def test_what_is_no_size_is_refused(size: str, tmp_path: Path) -> None:
    done = call("--run", tmp_path, "--size", size)
    assert (done.exit_code, "such as 1280x960" in done.output) == (2, True)


@pytest.mark.parametrize("size", ["10x10", "99999x99999"])
def test_a_size_that_can_not_be_drawn_is_refused(size: str, tmp_path: Path) -> None:
    assert isinstance(call("--run", tmp_path, "--size", size).exception, InputError)


def test_a_place_that_can_not_be_written_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    done = call("--run", tmp_path / "none", "--output", tmp_path)
    assert "is a folder" in str(done.exception)


def test_a_run_that_is_none_is_refused(tmp_path: Path) -> None:
    done = call("--run", tmp_path, "--size", "120x120")
    assert isinstance(done.exception, TrainingError)


@pytest.mark.slow
def test_with_the_real_ultralytics_the_labels_agree(tiny_run: Path, tiny_bundles: dict[str, Path]) -> None:
    results = measure(tiny_run, [open_bundle(tiny_bundles["onnx-fp32"])], FRAMES, rounds=1, minimum=SHORT)
    measured = {run.way.partition(" ")[0]: run for run in results.runs}
    assert {"ultralytics-onnx", "ultralytics-pytorch", "by-hand", "opencv-dnn", "paper"} <= set(measured)
    for name in ("floor", "ultralytics-onnx", "ultralytics-pytorch", "by-hand", "opencv-dnn"):
        assert measured[name].same_label == measured[name].compared
