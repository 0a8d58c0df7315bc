import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_app.bundle import Bundle, assemble, golden_npz, open_bundle, pack, write_bundle
from edge_app.commands.bundle import command
from edge_app.errors import BundleError, BundleNotFoundError, GoldenError, InferenceError
from edge_app.scale import Scale
from tests.bundles import tiny_bundle, tiny_manifest, tiny_members
from tests.tiny_models import onnx_model


@pytest.fixture(scope="module")
def working() -> Bundle:
    """A bundle whose model computes what its golden file says."""
    return tiny_bundle(onnx_model())


def run(*arguments: str | Path) -> Result:
    result = CliRunner().invoke(command, [str(each) for each in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_info_says_what_a_person_wants_to_know(tmp_path: Path, working: Bundle) -> None:
    write_bundle(tmp_path / "tiny.leuko", working)
    output = run("info", tmp_path / "tiny.leuko").output
    for part in (
        "onnx, fp32",
        "Benign, Early, Pre",
        "16×12 pixels",
        "yes: same label as the source model on 99.80% of 500 validation images, accuracy -0.20 points",
        "min_focus 0",
        "ALL-IDB1, 108 images",
        "For Research Use Only. Not for use in diagnostic procedures.",
        working.sha256,
        "scene, test: drawn, not real",
    ):
        assert part in output
    accuracy = next(line for line in output.splitlines() if "accuracy  " in line)
    assert accuracy.count("0.981 (0.970 to 0.988)") == 2


def test_info_says_at_which_scale_a_model_was_trained(tmp_path: Path) -> None:
    scale = Scale(red_cell_px=13.64, pixel_aspect=4 / 3, um_per_pixel=0.55)
    for name, given, said in (
        ("with", scale, "red cells 13.6 pixels wide, 0.55 µm a pixel of the input"),
        ("without", None, "unknown: every frame is taken for one field"),
    ):
        write_bundle(tmp_path / name, tiny_bundle(scale=given))
        assert said in run("info", tmp_path / name).output


def test_info_gives_the_manifest_to_programs(tmp_path: Path, working: Bundle) -> None:
    pack(tmp_path / "tiny.zip", working)
    said = json.loads(run("info", tmp_path / "tiny.zip", "--json").output)
    assert said["manifest"] == json.loads(working.read("manifest.json"))
    assert said["sha256"] == working.sha256
    assert said["bytes"] == sum(map(len, working.files.values()))


def test_a_bundle_that_is_not_certified_or_would_steer_the_terminal_is_shown_as_what_it_is(tmp_path: Path) -> None:
    gate = tiny_bundle().manifest.gate.replace(certified=False)
    write_bundle(tmp_path / "x.leuko", tiny_bundle(gate=gate, task="a\x1b[2Jb [red]c"))
    output = run("info", tmp_path / "x.leuko").output
    assert "NO: same label" in output
    assert r"a\x1b[2Jb [red]c" in output


def test_verify_passes_a_sound_bundle(tmp_path: Path, working: Bundle) -> None:
    write_bundle(tmp_path / "tiny.leuko", working)
    result = run("verify", tmp_path / "tiny.leuko", "--threads", "1")
    assert result.exit_code == 0
    assert result.output.startswith("ok ")
    assert "same label on 4 of 4 golden images" in result.output
    assert "1 thread, CPUExecutionProvider" in result.output
    assert len(result.output.splitlines()) == 1


def test_verify_goes_on_past_failures_and_ends_with_the_first_one_s_code(tmp_path: Path, working: Bundle) -> None:
    write_bundle(tmp_path / "good.leuko", working)
    write_bundle(tmp_path / "no-model.leuko", tiny_bundle())
    pack(tmp_path / "good.zip", working)
    names = ["no-model.leuko", "none.leuko", "good.leuko", "good.zip"]
    result = run("verify", *(tmp_path / name for name in names), "--json")
    lines = [json.loads(line) for line in result.output.splitlines()]
    assert [line["bundle"] for line in lines] == [str(tmp_path / name) for name in names]
    assert [line["ok"] for line in lines] == [False, False, True, True]
    assert result.exit_code == InferenceError.exit_code
    assert lines[2]["golden"]["agreeing"] == 4
    assert lines[2]["executed"]["library"] == "onnxruntime"
    assert run("verify", tmp_path / "none.leuko", tmp_path / "no-model.leuko").exit_code == 5


def test_verify_finds_a_model_that_computes_something_else(tmp_path: Path, working: Bundle) -> None:
    inputs, logits = working.golden()
    members = tiny_members(onnx_model()) | {"golden.npz": golden_npz(inputs, -logits)}
    write_bundle(tmp_path / "other.leuko", assemble(tiny_manifest(members), members))
    result = run("verify", tmp_path / "other.leuko")
    assert result.exit_code == GoldenError.exit_code
    assert "does not compute what was measured" in result.output


def test_without_a_name_it_is_the_default_bundle(
    tmp_path: Path, working: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path / package)
    assert isinstance(CliRunner().invoke(command, ["verify"]).exception, BundleNotFoundError)
    (tmp_path / "edge_app" / "data").mkdir(parents=True)
    write_bundle(tmp_path / "edge_app" / "data" / "default.leuko", working)
    assert run("verify").exit_code == 0
    assert json.loads(run("info", "--json").output)["sha256"] == working.sha256


def test_a_path_that_is_no_text_is_still_named(tmp_path: Path) -> None:
    result = run("verify", tmp_path / "x\udcff\n.leuko")
    assert result.exit_code == BundleNotFoundError.exit_code
    assert r"x\udcff\n.leuko" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["info", "--help"], ["verify", "--help"]])
def test_help_has_an_example(arguments: list[str]) -> None:
    assert "Example: leukoscope bundle" in run(*arguments).output


def test_a_packed_bundle_is_the_same_bundle(tmp_path: Path, working: Bundle) -> None:
    write_bundle(tmp_path / "tiny.leuko", working)
    result = run("pack", tmp_path / "tiny.leuko", tmp_path / "sent.leuko")
    assert result.exit_code == 0, result.output
    assert working.sha256 in result.output
    assert open_bundle(tmp_path / "sent.leuko").sha256 == working.sha256
    again = CliRunner().invoke(command, ["pack", str(tmp_path / "tiny.leuko"), str(tmp_path / "sent.leuko")])
    assert isinstance(again.exception, BundleError)
    assert run("pack", tmp_path / "tiny.leuko", tmp_path / "sent.leuko", "--replace").exit_code == 0
