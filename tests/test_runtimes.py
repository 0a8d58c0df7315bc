import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from ai_edge_litert import interpreter

from edge_app.bundle import assemble, check_golden
from edge_app.errors import InferenceError, MemberError
from edge_app.images import decode_image
from edge_app.manifest import Format, Precision
from edge_app.runtimes import LIBRARIES, Executed, Model, executed_precision, load, load_model
from edge_app.runtimes.openvino import precision_hint
from tests import tiny_models
from tests.bundles import tiny_manifest, tiny_members
from tests.tiny_models import CLASSES, HEIGHT, WIDTH, logits, onnx_model, pictures

SUFFIXES: dict[Format, str] = {"tflite": ".tflite", "onnx": ".onnx", "openvino": ".xml"}
# format → the package that should run it here
PACKAGES: dict[Format, str] = {"tflite": "ai_edge_litert", "onnx": "onnxruntime", "openvino": "openvino"}
TFLITE_PACKAGES = ("ai_edge_litert", "tflite_runtime", "tensorflow")

every_format = pytest.mark.parametrize("model_format", SUFFIXES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny")
    tiny_models.build(path)
    return path


def tiny(folder: Path, model_format: Format, precision: Precision = "fp32") -> Model:
    file = folder / f"{precision}{SUFFIXES[model_format]}"
    weights = file.with_suffix(".bin").read_bytes() if model_format == "openvino" else None
    return Model(model_format, precision, CLASSES, HEIGHT, WIDTH, file.read_bytes(), weights)


# A module that is found before the true package, and says that there is none.
ABSENT = "raise ModuleNotFoundError(f'No module named {__name__!r}', name=__name__)"

LOAD = """
import sys
from pathlib import Path
import numpy as np
from edge_app.errors import RuntimeMissingError
from edge_app.runtimes import Model, load_model
path, model_format = sys.argv[1:]
weights = Path(path).with_suffix(".bin").read_bytes() if model_format == "openvino" else None
try:
    runtime = load_model(Model(model_format, "fp32", 3, 12, 16, Path(path).read_bytes(), weights), threads=1)
    runtime.infer(np.zeros((1, 12, 16, 3), np.uint8))
    print(runtime.describe())
except RuntimeMissingError as error:
    print(error)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def load_alone(folder: Path, model_format: Format, instead: Path, **modules: str) -> tuple[str, set[str]]:
    """Load and use a model in a new process, in which the sources of some modules are others.

    Return what executed it, or the error, and the packages that were imported; nothing may be written to stderr.
    """
    for name, source in modules.items():
        (instead / f"{name}.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder / f"fp32{SUFFIXES[model_format]}"), model_format],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONPATH": str(instead)},
        timeout=300,
    )
    assert "tensorflow" in done.stdout or done.stderr == ""
    said, imported = done.stdout.splitlines()
    return said, set(imported.split())


@every_format
def test_each_format_computes_what_numpy_does(folder: Path, model_format: Format) -> None:
    runtime = load_model(tiny(folder, model_format))
    for picture in pictures(8):
        found = runtime.infer(picture[np.newaxis])
        assert found.shape == (1, CLASSES)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, logits(picture[np.newaxis]), rtol=0, atol=1e-5)
    assert runtime.describe().precision == "fp32"


@every_format
def test_int8_is_executed_as_int8_and_close(folder: Path, model_format: Format) -> None:
    runtime = load_model(tiny(folder, model_format, "int8"))
    for picture in pictures(8):
        np.testing.assert_allclose(runtime.infer(picture[np.newaxis]), logits(picture[np.newaxis]), rtol=0, atol=0.05)
    assert runtime.describe().precision == "int8"


@every_format
def test_what_executes_is_said(folder: Path, model_format: Format) -> None:
    for threads in (1, 2):
        executed = load_model(tiny(folder, model_format), threads=threads).describe()
        assert executed.threads == threads
        assert executed.library == PACKAGES[model_format]
        assert executed.version[0].isdigit()
        assert "CPU" in executed.device
    assert load_model(tiny(folder, model_format)).describe().threads == len(os.sched_getaffinity(0))


def test_what_executes_fits_in_one_line() -> None:
    executed = Executed("onnxruntime", "1.32.0", "int8", 1, "CPUExecutionProvider")
    assert str(executed) == "onnxruntime 1.32.0, int8, 1 thread, CPUExecutionProvider"
    assert str(dataclasses.replace(executed, threads=4)).count("4 threads") == 1


def test_mixed_precision_is_not_hidden() -> None:
    assert executed_precision(["f32", "u8", "i8"]) == "2×int8 + 1×fp32"
    assert executed_precision(["bf16", "bf16"]) == "bf16"
    assert executed_precision([]) == "unknown"


@pytest.mark.parametrize(
    ("machine", "able", "hint"),
    [("x86_64", ["FP32", "BF16", "FP16"], "f32"), ("aarch64", ["FP32", "FP16"], "f16"), ("aarch64", ["FP32"], "f32")],
)
def test_openvino_halves_floats_on_arm_only(
    monkeypatch: pytest.MonkeyPatch, machine: str, able: list[str], hint: str
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    core = SimpleNamespace(get_property=lambda *_: able)
    assert [precision_hint(core, precision) for precision in ("fp32", "fp16", "int8")] == ["f32", hint, hint]


def test_litert_uses_xnnpack(folder: Path) -> None:
    assert load_model(tiny(folder, "tflite", "int8")).describe().device == "CPU with XNNPACK"


@pytest.mark.parametrize("threads", [-1, 257, 10**6])
def test_an_impossible_number_of_threads_is_refused(folder: Path, threads: int) -> None:
    with pytest.raises(InferenceError, match=f"not {threads}"):
        load_model(tiny(folder, "tflite"), threads=threads)


@every_format
def test_logits_outlive_the_next_picture_and_the_runtime(folder: Path, model_format: Format) -> None:
    first, second = pictures(2)
    runtime = load_model(tiny(folder, model_format))
    found = runtime.infer(first[np.newaxis])
    runtime.infer(second[np.newaxis])
    del runtime
    assert found.flags.owndata
    np.testing.assert_allclose(found, logits(first[np.newaxis]), rtol=0, atol=1e-5)


@every_format
def test_another_batch_is_refused(folder: Path, model_format: Format) -> None:
    runtime = load_model(tiny(folder, model_format))
    picture = pictures(2)[1]
    with pytest.raises(InferenceError, match=r"not float32 \[1, 12, 16, 3\]"):
        runtime.infer(picture[np.newaxis].astype(np.float32))
    for other in (picture, pictures(2), picture[np.newaxis, :, :-1], picture.transpose(1, 0, 2)[np.newaxis]):
        with pytest.raises(InferenceError, match="uint8"):
            runtime.infer(other)
    assert runtime.infer(picture[np.newaxis]).shape == (1, CLASSES), "it goes on working"


@every_format
def test_a_batch_need_not_be_contiguous_or_writable(folder: Path, model_format: Format) -> None:
    batch = pictures(2)[1:]
    runtime = load_model(tiny(folder, model_format))
    np.testing.assert_array_equal(runtime.infer(batch[:, :, ::-1].copy()[:, :, ::-1]), runtime.infer(batch))
    frozen = np.frombuffer(batch.tobytes(), np.uint8).reshape(batch.shape)
    np.testing.assert_array_equal(runtime.infer(frozen), runtime.infer(batch))


@every_format
def test_a_model_that_breaks_the_contract_is_refused(folder: Path, model_format: Format) -> None:
    model = tiny(folder, model_format)
    with pytest.raises(InferenceError, match=r"gives float32 \[1, 3\], but a bundle's must be float32 \[1, 4\]"):
        load_model(dataclasses.replace(model, classes=4))
    with pytest.raises(InferenceError, match=r"takes uint8 \[1, 12, 16, 3\], but .* uint8 \[1, 16, 12, 3\]"):
        load_model(dataclasses.replace(model, height=16, width=12))


def test_a_model_of_other_types_is_refused() -> None:
    from onnx import TensorProto

    model = Model("onnx", "fp32", CLASSES, HEIGHT, WIDTH, onnx_model(input_type=TensorProto.FLOAT))
    with pytest.raises(InferenceError, match=r"takes float32 \[1, 12, 16, 3\]"):
        load_model(model)
    with pytest.raises(InferenceError, match=r"gives tensor\(double\)"):
        load_model(dataclasses.replace(model, content=onnx_model(output_type=TensorProto.DOUBLE)))
    with pytest.raises(InferenceError, match=r"takes uint8 \[.*'N'.*\]"):
        load_model(dataclasses.replace(model, content=onnx_model(batch="N")))


def test_logits_that_are_not_finite_are_an_error() -> None:
    runtime = load_model(Model("onnx", "fp32", CLASSES, HEIGHT, WIDTH, onnx_model(scale=0)))
    with pytest.raises(InferenceError, match="not finite"):
        runtime.infer(np.zeros((1, HEIGHT, WIDTH, 3), np.uint8))


@every_format
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_damaged_model_is_one_error(
    folder: Path, model_format: Format, precision: Precision, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tiny(folder, model_format, precision)
    size = len(model.content)
    damaged = [model.content[: size * part // 16] for part in range(16)]
    damaged += [b"\0" * 64, b"not a model at all", np.random.default_rng(3).bytes(size), model.content[size // 2 :]]
    for content in damaged:
        with pytest.raises(InferenceError) as caught:
            load_model(dataclasses.replace(model, content=content))
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_openvino_weights_that_are_cut_off_are_one_error(folder: Path) -> None:
    model = tiny(folder, "openvino")
    for weights in (b"", (model.weights or b"")[:100]):
        with pytest.raises(InferenceError, match="get the bundle again"):
            load_model(dataclasses.replace(model, weights=weights))


@every_format
def test_only_the_library_that_is_needed_is_imported_and_it_is_quiet(
    folder: Path, model_format: Format, tmp_path: Path
) -> None:
    said, imported = load_alone(folder, model_format, tmp_path)
    assert said.startswith(PACKAGES[model_format])
    others = {"keras", "onnx", "tensorflow", "tflite_runtime", "torch", "ultralytics", *PACKAGES.values()}
    assert imported & others == {PACKAGES[model_format]}


@every_format
def test_a_missing_library_says_what_to_install(folder: Path, model_format: Format, tmp_path: Path) -> None:
    absent = dict.fromkeys([*TFLITE_PACKAGES, *PACKAGES.values()], ABSENT)
    said, _ = load_alone(folder, model_format, tmp_path, **absent)
    library = LIBRARIES[model_format]
    assert said == f"no library for {library.name} bundles is installed; {library.install}"


@pytest.mark.parametrize(
    "source",
    [
        "raise SystemError('initialization of _pywrap_tensorflow_interpreter_wrapper raised')",
        "raise AttributeError('_ARRAY_API not found')",
        "raise ImportError('numpy.core.multiarray failed to import')",
        "def Interpreter(**_): raise AttributeError('_ARRAY_API not found')",
    ],
)
def test_a_library_that_does_not_fit_numpy_says_what_to_install(folder: Path, source: str, tmp_path: Path) -> None:
    package = tmp_path / "tflite_runtime"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '2.14.0'")
    (package / "interpreter.py").write_text(source)
    said, _ = load_alone(folder, "tflite", tmp_path, ai_edge_litert=ABSENT, tensorflow=ABSENT)
    assert said.startswith("tflite_runtime ")
    assert said.endswith("; pip install ai-edge-litert")


@pytest.mark.slow
def test_tensorflow_serves_where_litert_is_not_installed(folder: Path, tmp_path: Path) -> None:
    said, _ = load_alone(folder, "tflite", tmp_path, ai_edge_litert=ABSENT, tflite_runtime=ABSENT)
    assert said.startswith("tensorflow 2.")
    assert "fp32, 1 thread, CPU with" in said


@every_format
def test_a_bundle_is_loaded_as_its_manifest_says(folder: Path, model_format: Format) -> None:
    model = tiny(folder, model_format)
    members = tiny_members(model.content, model_format)
    if model.weights:
        with pytest.raises(MemberError, match=r"model\.bin"):
            load(assemble(tiny_manifest(members), members))
        members["model.bin"] = model.weights
    bundle = assemble(tiny_manifest(members), members)
    runtime = load(bundle, threads=1)
    assert runtime.describe().threads == 1
    assert check_golden(bundle, runtime.infer).largest_difference < 1e-5


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_openvino_computes_no_float_model_in_less_than_its_bundle_has(folder: Path, precision: Precision) -> None:
    model = dataclasses.replace(tiny(folder, "openvino"), precision=precision)
    executed = load_model(model).describe().precision
    assert executed == "fp32" or (executed, precision) == ("fp16", "fp16")


def test_stderr_is_where_it_was_after_a_model_was_loaded_beside_a_picture_that_was_decoded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, decoding, go_on = cv2.imdecode, threading.Event(), threading.Event()
    picture = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    reader = threading.Thread(target=decode_image, args=(picture, "x"))

    def slow_decode(*arguments: Any) -> Any:
        decoding.set()
        go_on.wait(10)
        return decode(*arguments)

    def load_while_the_picture_ends(**options: Any) -> Any:
        go_on.set()
        reader.join(10)
        return ai_edge_litert(**options)

    ai_edge_litert = interpreter.Interpreter
    monkeypatch.setattr(cv2, "imdecode", slow_decode)
    monkeypatch.setattr(interpreter, "Interpreter", load_while_the_picture_ends)
    before = os.fstat(2)
    reader.start()
    decoding.wait(10)
    threading.Timer(0.2, go_on.set).start()
    load_model(tiny(folder, "tflite"), threads=1)
    assert os.path.samestat(os.fstat(2), before)
