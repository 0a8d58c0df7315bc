"""What ONNX Runtime is asked to run a model on; no TensorRT is here, so its version is given."""

from pathlib import Path

import onnxruntime
import pytest

from edge_app.manifest import Precision
from edge_app.runtimes import Engines, Model
from edge_app.runtimes.engines import kept_engines, tensorrt_version
from edge_app.runtimes.onnx import PROVIDERS, choose_providers

SHA256 = "ab" * 32


def model(precision: Precision, engines: Engines | None = None) -> Model:
    return Model("onnx", precision, 2, 8, 8, b"", engines=engines)


@pytest.fixture
def tensorrt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_app.runtimes.engines.tensorrt_version", lambda: "10.3.0")


def test_of_what_this_build_has_the_cpu_is_chosen() -> None:
    available = onnxruntime.get_available_providers()
    assert [name for name, _ in choose_providers(available, model("fp32"))] == [
        name for name in PROVIDERS if name in available
    ]


def test_the_names_are_those_of_onnx_runtime() -> None:
    assert set(PROVIDERS) <= set(onnxruntime.get_all_providers())


def test_tensorrt_comes_first_then_cuda_then_the_cpu() -> None:
    chosen = choose_providers(onnxruntime.get_all_providers(), model("fp16"))
    assert [name for name, _ in chosen] == list(PROVIDERS)
    assert chosen[0][1]["trt_fp16_enable"] == "1"
    assert "trt_engine_cache_path" not in chosen[0][1]


def test_int8_goes_past_tensorrt_whose_integers_are_symmetric() -> None:
    chosen = choose_providers(onnxruntime.get_all_providers(), model("int8"))
    assert [name for name, _ in chosen] == list(PROVIDERS[1:])


@pytest.mark.usefixtures("tensorrt")
def test_engines_are_kept_beside_the_bundle_by_its_hash_and_tensorrts_version(tmp_path: Path) -> None:
    engines = Engines(tmp_path / "a.leuko", SHA256)
    options = choose_providers(onnxruntime.get_all_providers(), model("fp32", engines))[0][1]
    assert options["trt_engine_cache_enable"] == "1"
    folder = Path(options["trt_engine_cache_path"])
    assert folder == tmp_path / ".leukoscope-engines" / f"{SHA256[:16]}-tensorrt-10.3.0"
    assert folder.is_dir()


@pytest.mark.usefixtures("tensorrt")
def test_engines_are_kept_in_the_users_cache_where_the_bundle_may_not_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "file").write_text("no folder")
    folder = kept_engines(Engines(tmp_path / "file" / "a.leuko", SHA256))
    assert folder == tmp_path / "cache" / "leukoscope" / "engines" / f"{SHA256[:16]}-tensorrt-10.3.0"


def test_without_tensorrt_no_folder_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda _: None)
    assert tensorrt_version() is None
    assert kept_engines(Engines(tmp_path / "a.leuko", SHA256)) is None
    assert not list(tmp_path.iterdir())
