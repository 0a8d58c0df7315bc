import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks.peers import measure
from benchmarks.peers_pipelines import Image, Question, by_hand, opencv_dnn, segment
from benchmarks.peers_results import PeersResults
from benchmarks.report import collect
from benchmarks.report_page import html, markdown
from benchmarks.report_sections import sections
from benchmarks.results import Minimum
from edge_app.bundle import open_bundle
from edge_app.cli import leukoscope
from edge_app.errors import InputError, TrainingError
from edge_app.preprocessing import Preprocessing, prepare
from edge_app.smears import draw_smear
from tests.results import STARTED

SIDE = 64
FRAMES: list[Image] = [
    draw_smear(1, kind="leukaemic", height=240, width=320).image,
    draw_smear(2, kind="healthy", height=240, width=320).image,
]
SHORT = Minimum(queries=3, seconds=0)
PAPER = Preprocessing(height=SIDE, width=SIDE)
QUESTION = Question(("Cancer", "Normal"), PAPER.hsv_low, PAPER.hsv_high, PAPER.opening, SIDE)

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


def network() -> bytes:
    """An ONNX model as Ultralytics exports one: float32 [1, 3, H, W] → probabilities; the brighter, the more Cancer."""
    from onnx import TensorProto, helper, numpy_helper

    constants = {
        "dense": np.array([[100, 0], [100, 0], [100, 0]], np.float32),
        "bias": np.array([-0.5, 0], np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "dense", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package `ultralytics` that is found before the real one by processes that the test starts."""
    package = tmp_path / "packages" / "ultralytics"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(STAND_IN)
    (package / "network.onnx").write_bytes(network())
    (package.parent / "torchvision.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(package.parent), os.environ.get("PYTHONPATH")])))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "network.onnx"
    path.write_bytes(network())
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
    tiny_run: Path, tiny_bundles: dict[str, Path]
) -> None:
    bundles = [open_bundle(tiny_bundles[name]) for name in ("onnx-fp32", "tflite-int8")]
    results = measure(tiny_run, bundles, FRAMES, rounds=2, minimum=SHORT)
    assert PeersResults.model_validate_json(results.model_dump_json()) == results
    assert [run.way.partition(" ")[0] for run in results.runs] == [
        *("leukoscope", "leukoscope", "floor", "floor"),
        *("ultralytics-onnx", "ultralytics-pytorch", "by-hand", "opencv-dnn", "paper"),
    ]
    assert {each.way: each.reason for each in results.not_measured} == {
        "ultralytics-openvino": "not installed: openvino",
        "ultralytics-litert": "failed: RuntimeError: this network can't be converted",
    }
    assert (results.rounds, results.frames, str(results.size), results.invalid) == (2, 2, "320x240", ())
    reference = results.runs[0]
    assert set(reference.ratios.model_dump().values()) == {1.0}
    for run in results.runs:
        assert [times.count for times in run.frame.repeats] == [2, 2]
        assert len(run.labels) == len(FRAMES)
        assert run.same_label <= run.compared == sum(label is not None for label in reference.labels)
        assert run.peak_memory_bytes.median > 2**20
        assert run.first_verdict_ms.median > run.frame.median.p50_ms


@pytest.mark.usefixtures("stand_in")
def test_a_run_that_is_stopped_keeps_its_whole_rounds_and_is_invalid(
    tiny_run: Path, tiny_bundles: dict[str, Path], tmp_path: Path
) -> None:
    def stop(done: int, total: int, text: str) -> None:  # noqa: ARG001
        if text.startswith("round 2 of 3: floor"):
            raise KeyboardInterrupt

    bundle = open_bundle(tiny_bundles["onnx-fp32"])
    results = measure(tiny_run, [bundle], FRAMES, rounds=3, minimum=SHORT, notify=stop)
    assert results.rounds == 1
    assert {len(run.frame.repeats) for run in results.runs} == {1}
    assert results.invalid == ("stopped after 1 of 3 rounds",)
    path = tmp_path / "peers.json"
    path.write_text(results.model_dump_json())
    parts = sections(collect([path]), {})
    for text in (html(parts, STARTED), markdown(parts, STARTED)):
        assert "INVALID: stopped after 1 of 3 rounds" in text
        assert "this network can&#x27;t be converted" in text.replace("'", "&#x27;")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(leukoscope, ["bench", "peers", *map(str, arguments)])


@pytest.mark.usefixtures("stand_in")
def test_the_command_writes_what_the_report_reads(
    tiny_run: Path, tiny_bundles: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("benchmarks.latency", fromlist=["PRESETS"]).PRESETS, "rapid", SHORT)
    for number, frame in enumerate(FRAMES):
        cv2.imwrite(str(tmp_path / f"{number}.png"), frame)
    path = tmp_path / "peers.json"
    options = ("--run", tiny_run, "--rounds", 1, "--preset", "rapid", "--output", path)
    done = call(tiny_bundles["onnx-fp32"], *options, "--frames", tmp_path)
    assert done.exit_code == 0, done.output
    assert "| the study's steps, through a file |" in done.stdout
    (results,) = collect([path]).peers
    assert results.frames == len(FRAMES)
    assert json.loads(path.read_text())["kind"] == "peers"


def test_a_bundle_of_other_weights_is_refused(tiny_run: Path) -> None:
    done = call("--run", tiny_run)  # the shipped bundle was made from others
    assert isinstance(done.exception, InputError)
    assert "was made from other weights than the run's" in str(done.exception)


@pytest.mark.parametrize("size", ["1280", "x", "1280x", "-1x5", "10x10"])
def test_a_size_that_can_not_be_drawn_is_refused(size: str, tmp_path: Path) -> None:
    assert isinstance(call("--run", tmp_path, "--size", size).exception, InputError)


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
