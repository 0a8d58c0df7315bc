import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benchmarks import environment
from benchmarks.bare import bare_call
from benchmarks.commands.latency import print_latency
from benchmarks.latency import PRESETS, measure_latency
from benchmarks.reels import Reel, draw_reels, reels_of_files
from benchmarks.result_files import read_results
from benchmarks.results import FrameSize, LatencyResults, Minimum
from edge_app.bundle import Bundle, assemble, default_bundle_path, open_bundle, write_bundle
from edge_app.cli import leukoscope
from edge_app.errors import InferenceError, InputError
from edge_app.manifest import Format, Precision
from edge_app.preprocessing import prepare
from edge_app.runtimes import load
from tests.bundles import tiny_bundle, tiny_manifest, tiny_members
from tests.conftest import draw_cells
from tests.interrupting import press_ctrl_c
from tests.results import facts, latency_results, latency_run
from tests.test_board import install
from tests.tiny_models import onnx_model

SMALL, LARGE = FrameSize(width=112, height=64), FrameSize(width=640, height=480)
SHORT, BRIEF = Minimum(queries=48, seconds=0.3), Minimum(queries=8, seconds=0.05)
ENDLESS = Minimum(queries=10**9, seconds=10**6)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "tiny.leuko"
    write_bundle(path, tiny_bundle(onnx_model()))
    return path


@pytest.fixture(scope="module")
def reels(tmp_path_factory: pytest.TempPathFactory) -> list[Reel]:
    return draw_reels(tmp_path_factory.mktemp("reels"), [(640, 480), (112, 64)])


@pytest.fixture(scope="module")
def results(reels: list[Reel]) -> LatencyResults:
    """The shipped bundle, two repeats, and a short sustained run."""
    threads = [len(os.sched_getaffinity(0))]
    return measure_latency(
        [default_bundle_path()], reels, threads=threads, minimum=SHORT, repeats=2, sustained_minutes=0.005
    )


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(leukoscope, ["bench", "latency", *map(str, arguments)])


def test_the_model_the_bare_call_and_each_size_are_measured(results: LatencyResults) -> None:
    (run,) = results.runs
    assert [(each.case, each.size) for each in run.measurements] == [
        ("bare", None),
        ("model", None),
        ("frame", SMALL),
        ("frame", LARGE),
    ]
    assert all(each.complete for each in run.measurements)
    assert run.invalid == ()


def test_every_repeat_reaches_the_queries_and_the_seconds(results: LatencyResults) -> None:
    for each in results.runs[0].measurements:
        whole = each.stages["total" if each.case == "frame" else "infer"]
        assert len(whole.repeats) == 2
        for times in whole.repeats:
            assert times.count >= SHORT.queries
            assert times.count * times.mean_ms >= 1000 * SHORT.seconds


def test_the_stages_of_a_frame_are_its_total(results: LatencyResults) -> None:
    for each in results.runs[0].measurements[2:]:
        parts = sum(each.stages[name].median.mean_ms for name in ("prepare", "infer", "judge"))
        assert parts <= each.stages["total"].median.mean_ms <= 1.2 * parts + 5


def test_from_frame_to_verdict_costs_little_more_than_the_bare_call(results: LatencyResults) -> None:
    """The regression check of the frame path: against the bare call of the same run, by a bound for a busy machine."""
    bare, model, _, frame = results.runs[0].measurements
    floor_ms = min(times.min_ms for times in bare.stages["infer"].repeats)
    assert min(times.min_ms for times in model.stages["infer"].repeats) <= 1.2 * floor_ms + 1
    assert min(times.min_ms for times in frame.stages["total"].repeats) <= 2 * floor_ms + 10


def test_load_first_inference_and_first_verdict_are_apart(results: LatencyResults) -> None:
    (run,) = results.runs
    for once in (run.load_ms, run.first_inference_ms, run.first_verdict_ms):
        assert len(once.repeats) == 2
        assert once.median > 0
    assert run.first_verdict_ms.median > run.load_ms.median


def test_memory_is_that_of_a_process_which_only_judges(results: LatencyResults) -> None:
    for each in results.runs[0].measurements:
        if each.case == "frame":
            assert each.peak_memory_bytes is not None
            assert len(each.peak_memory_bytes.repeats) == 2
            assert 20e6 < each.peak_memory_bytes.median < 300e6
        else:
            assert each.peak_memory_bytes is None


def test_a_bundle_and_what_was_executed_are_named(results: LatencyResults) -> None:
    (run,) = results.runs
    bundle = open_bundle(default_bundle_path())
    assert (run.bundle.name, run.bundle.sha256) == (bundle.manifest.name, bundle.sha256)
    assert run.bundle.model_bytes == len(bundle.read(bundle.manifest.model_file))
    assert run.bundle.measured == bundle.manifest.measured
    assert (run.executed.library, run.executed.threads) == ("ai_edge_litert", run.threads)


def test_a_sustained_run_tells_its_minutes(results: LatencyResults) -> None:
    sustained = results.runs[0].sustained
    assert sustained is not None
    assert sustained.size == SMALL
    assert sum(each.seconds for each in sustained.minutes) == pytest.approx(0.3, abs=1)
    assert sustained.complete


def test_a_sustained_run_that_is_stopped_keeps_its_minutes_as_cut_short(
    tiny: Path, reels: list[Reel], capsys: pytest.CaptureFixture[str]
) -> None:
    def on_progress(done: float, total: float, text: str) -> None:  # noqa: ARG001
        if "sustained" in text:
            press_ctrl_c()

    found = measure_latency(
        [tiny], reels[:1], threads=[1, 2], minimum=BRIEF, repeats=1, sustained_minutes=5, on_progress=on_progress
    )
    stopped, not_begun = (run.sustained for run in found.runs)
    assert stopped is not None
    assert not_begun is not None
    assert 0 < sum(each.seconds for each in stopped.minutes) < 60
    assert (stopped.complete, not_begun.complete, not_begun.minutes) == (False, False, ())
    assert not any(run.invalid for run in found.runs)
    print_latency(found)
    assert capsys.readouterr().out.count("stopped before its 5 minutes without rest were over") == 2


def test_a_benchmark_that_is_interrupted_keeps_what_is_done_as_too_short(tiny: Path, reels: list[Reel]) -> None:
    def on_progress(done: float, total: float, text: str) -> None:  # noqa: ARG001
        if "model" in text:
            press_ctrl_c()

    before = signal.getsignal(signal.SIGINT)
    found = measure_latency([tiny], reels[:1], threads=[1, 2], minimum=ENDLESS, repeats=5, on_progress=on_progress)
    assert signal.getsignal(signal.SIGINT) is before
    (run,) = found.runs
    assert [each.case for each in run.measurements] == ["bare", "model"]
    assert run.measurements[0].stages["infer"].median.count > 1
    assert not any(each.complete for each in run.measurements)
    assert any("too short: 0 of 5 repeats of model" in reason for reason in run.invalid)
    assert any("frames of 112x64 were not timed" in reason for reason in run.invalid)


def test_one_that_is_interrupted_before_anything_is_measured_has_no_result(tiny: Path, reels: list[Reel]) -> None:
    def on_progress(*_: object) -> None:
        press_ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        measure_latency([tiny], reels[:1], threads=[1], minimum=BRIEF, repeats=1, on_progress=on_progress)


def test_a_run_on_a_throttled_board_is_invalid(
    tiny: Path, reels: list[Reel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "bin", "vcgencmd", "echo throttled=0x4", monkeypatch)
    (run,) = measure_latency([tiny], reels[:1], threads=[1], minimum=BRIEF, repeats=1).runs
    assert run.invalid == ("the board was slowed down: throttled",)
    assert all(each.complete for each in run.measurements)


def test_a_run_on_an_emulated_processor_is_invalid(
    tiny: Path, reels: list[Reel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "is_emulated", lambda *_: True)
    (run,) = measure_latency([tiny], reels[:1], threads=[1], minimum=BRIEF, repeats=1).runs
    assert any("emulated" in reason for reason in run.invalid)


def test_a_bundle_that_can_not_be_run_is_named_before_anything_is_timed(
    tiny: Path, reels: list[Reel], tmp_path: Path
) -> None:
    write_bundle(tmp_path / "broken.leuko", tiny_bundle(b"not a model", name="broken"))
    told: list[str] = []
    with pytest.raises(InferenceError, match=r"^broken, 1 thread: onnxruntime .* can't load the model"):
        measure_latency(
            [tiny, tmp_path / "broken.leuko"],
            reels[:1],
            threads=[1],
            minimum=ENDLESS,
            repeats=1,
            on_progress=lambda done, total, text: told.append(text),  # noqa: ARG005
        )
    assert not [text for text in told if "repeat" in text]


def test_a_process_that_is_killed_is_an_error_that_says_so(tiny: Path, reels: list[Reel]) -> None:
    def on_progress(done: float, total: float, text: str) -> None:  # noqa: ARG001
        if "model" in text:
            children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
            os.kill(int(children[-1]), signal.SIGKILL)

    with pytest.raises(InferenceError, match=r"was ended by SIGKILL.*memory"):
        measure_latency([tiny], reels[:1], threads=[1], minimum=ENDLESS, repeats=1, on_progress=on_progress)


def test_a_reel_gives_its_frames_again_and_again_in_the_same_memory(tmp_path: Path) -> None:
    for number in range(3):
        draw_cells(tmp_path / f"{number}.png", 4, seed=number, side=64 if number else 32)
    small, large = reels_of_files(tmp_path, sorted(tmp_path.glob("*.png")))
    assert [(small.width, small.frames), (large.width, large.frames)] == [(32, 1), (64, 2)]
    frames = iter(large)
    first, second = next(frames).copy(), next(frames)
    assert not np.array_equal(first, second)
    assert np.array_equal(next(frames), first)
    assert np.array_equal(second, first)


def test_drawn_frames_have_stain_to_find(reels: list[Reel]) -> None:
    record = open_bundle(default_bundle_path()).manifest.preprocessing
    for reel in reels:
        frames = iter(reel)
        assert all(prepare(next(frames), record).mask.any() for _ in range(reel.frames))


@pytest.mark.parametrize(
    ("model_format", "precision"), [("tflite", "int8"), ("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "fp16")]
)
def test_the_bare_call_computes_what_our_runtime_does(
    model_format: Format, precision: Precision, tmp_path: Path
) -> None:
    bundle = open_bundle(default_bundle_path()) if model_format == "tflite" else tiny_bundle(onnx_model())
    if model_format == "openvino":
        bundle = openvino_bundle(tmp_path, precision)
    picture = bundle.golden()[0][:1]
    found = bare_call(bundle, 1)(picture)
    assert np.array_equal(np.asarray(found[0]).ravel(), load(bundle, threads=1).infer(picture).ravel())


def openvino_bundle(folder: Path, precision: Precision) -> Bundle:
    import openvino

    (folder / "model.onnx").write_bytes(onnx_model())
    openvino.save_model(openvino.Core().read_model(folder / "model.onnx"), folder / "model.xml", compress_to_fp16=False)
    members = tiny_members((folder / "model.xml").read_bytes(), "openvino")
    members["model.bin"] = (folder / "model.bin").read_bytes()
    return assemble(tiny_manifest(members).replace(precision=precision), members)


@pytest.mark.parametrize("size", [(100, 100), (200, 20), (20_000, 20_000)])
def test_a_size_that_can_not_be_drawn_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="112x64 or more"):
        draw_reels(tmp_path, [size])


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "rapid", BRIEF)


@pytest.mark.usefixtures("brief")
def test_the_command_writes_a_file_and_prints_the_same_as_json(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 0.0, 0.0))
    (tmp_path / "frames").mkdir()
    draw_cells(tmp_path / "frames" / "1.png", 4, seed=1, side=128)
    output = tmp_path / "results.json"
    arguments = ["--preset", "rapid", "--repeats", "1", "--threads", "1,2", "--json"]
    result = call(tiny, "--frames", tmp_path / "frames", "--output", output, *arguments)
    assert result.exit_code == 0, result.output
    assert "other programs keep this device busy (load 99.0" in result.stderr
    found = read_results(output)
    assert isinstance(found, LatencyResults)
    assert found.runs[0].conditions[0].load == 99
    assert (found.preset, found.frames, found.minimum) == ("rapid", "files", BRIEF)
    assert [run.threads for run in found.runs] == [1, 2]
    assert {each.size for each in found.runs[0].measurements} == {None, FrameSize(width=128, height=128)}
    assert (found.runs[0].executed.library, found.runs[0].executed.precision) == ("onnxruntime", "fp32")
    assert LatencyResults.model_validate_json(result.stdout) == found


def test_what_is_printed_for_a_person_says_what_is_invalid_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    invalid = latency_run(facts("slow"), invalid=["the board was slowed down: throttled"], sustained_minutes=2)
    print_latency(latency_results(latency_run(facts("fast")), invalid))
    said = capsys.readouterr().out
    for words in (
        "fast  ",
        "slow INVALID",
        "invalid: the board was slowed down: throttled",
        "frame 1280x960 to verdict (prepare",
        "executes int8",
        "minute 2: p50",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--threads", "0"], 2, "numbers from 1"),
        (["--threads", "1,,2"], 2, "numbers from 1"),
        (["--size", "large"], 2, "1280x960"),
        (["--frames", "x", "--size", "640x480"], 2, "leave out --size"),
        (["--frames", "nowhere"], 3, "nowhere"),
        (["--output", "nowhere/x.json"], 3, "nowhere"),
        (["--size", "10x10"], 3, "112x64"),
        (["nowhere.leuko"], 5, "nowhere.leuko"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    arguments: list[str], code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert getattr(result.exception, "exit_code", result.exit_code) == code
    assert words in f"{result.output}{result.exception}"
