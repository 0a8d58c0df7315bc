"""Fixtures that many tests use."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
from filelock import FileLock

from benchmarks.dataset import MANIFEST
from edge_app.bundle import write_bundle
from edge_app.manifest import Format, Precision
from edge_app.preprocessing import Preprocessing
from export.export import make_bundle, open_run
from tests.broker import Broker
from train.dataset import build_dataset
from train.evaluation import evaluate
from train.recipe import load_recipe
from train.run import train

if "PYTEST_XDIST_WORKER" in os.environ:  # else each worker's libraries take all cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# the files that take a minute or more, the longest first
LONGEST = (
    "test_training_keras",
    "test_export_int8",
    "test_training_keras_resuming",
    "test_export_formats",
    "test_export",
    "test_audit",
    "test_training",
)
MakeOnce = Callable[[str, Callable[[Path], object]], Path]
FORMATS: tuple[Format, ...] = ("tflite", "onnx", "openvino")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the long proofs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long proofs out unless --slow is given; begin with the longest files, so that all workers end alike."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))
    if config.getoption("--slow"):
        return
    slow = [item for item in items if "slow" in item.keywords]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if "slow" not in item.keywords]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Make a folder by a function, once for all workers: those that come later wait for the first, and share it.

    A test that changes what is in it takes a copy.
    """
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def make(name: str, build: Callable[[Path], object]) -> Path:
        folder, made = root / "made" / name, root / "made" / f"{name}.made"
        made.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(made.with_suffix(".lock")):
            if not made.exists():
                build(folder)
                made.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def smears() -> Path:
    """The folder of real images: all/Original/{Benign,Early,Pre,Pro}/*.jpg and all_idb1/im/*.jpg.

    They may not be redistributed, so a clone has none: LEUKOSCOPE_TEST_DATA names the folder.
    """
    folder = Path(os.environ.get("LEUKOSCOPE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the real images are not here: LEUKOSCOPE_TEST_DATA names their folder")
    return folder


@pytest.fixture(scope="session")
def kaggle_folder(make_once: MakeOnce) -> Path:
    """A folder in the layouts of both published data sets, with drawn pictures of 96 pixels in it."""
    return make_once("published", draw_published)


def draw_published(folder: Path) -> None:
    for stage, cells in {"Benign": 1, "Early": 4, "Pre": 7, "Pro": 10}.items():
        target = folder / "all" / "Original" / stage
        target.mkdir(parents=True)
        prefix = "WBC-Benign" if stage == "Benign" else f"WBC-Malignant-{stage}"
        for number in range(1, 21):
            draw_cells(target / f"{prefix}-{number:03}.jpg", cells, seed=number * 100 + cells)
    idb = folder / "all_idb1" / "im"
    idb.mkdir(parents=True)
    for number in range(1, 21):
        draw_cells(idb / f"Im{number:03}_{number % 2}.jpg", 6 if number % 2 else 1, seed=number)


def draw_cells(path: Path, cells: int, *, seed: int, side: int = 96) -> None:
    """Write a picture of purple discs on an off-white ground."""
    generator = np.random.default_rng(seed)
    image = np.full((side, side, 3), (235, 240, 238), np.uint8)
    for x, y in generator.integers(8, side - 8, (cells, 2)).tolist():
        cv2.circle(image, (x, y), 6, (160, 60, 130), -1, cv2.LINE_AA)
    noise = generator.integers(-6, 7, image.shape)
    cv2.imwrite(str(path), np.clip(image + noise, 0, 255).astype(np.uint8))


@pytest.fixture(scope="session")
def tiny_dataset(kaggle_folder: Path, make_once: MakeOnce) -> Path:
    """A built data set of 64 × 64 pixels."""
    size = Preprocessing(height=64, width=64)
    return make_once(
        "datasets/tiny", lambda folder: build_dataset([kaggle_folder], folder, split="scene", preprocessing=size)
    )


@pytest.fixture(scope="session")
def few(kaggle_folder: Path, make_once: MakeOnce) -> Path:
    """A data set of 75 × 75 pixels, the least that Inception-ResNet-v2 takes, with two images a class and part."""

    def build(folder: Path) -> None:
        manifest = build_dataset([kaggle_folder], folder, preprocessing=Preprocessing(height=75, width=75))
        seen: Counter[tuple[str, str]] = Counter()
        files = []
        for file in manifest.files:
            seen[file.part, file.label] += 1
            if seen[file.part, file.label] <= 2:
                files.append(file)
        (folder / MANIFEST).write_text(manifest.replace(files=tuple(files)).model_dump_json())

    return make_once("datasets/few", build)


@pytest.fixture(scope="module")
def on_torch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Executor]:
    """A process whose Keras runs on torch, which needs no tracing, without a network; it takes functions of modules."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KERAS_BACKEND", "torch")
            for protocol in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
                patch.setenv(protocol, "http://127.0.0.1:9")
            patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))  # where no fetched weights are
            process.submit(os.getpid).result()  # it starts with the first call
        yield process


@pytest.fixture(scope="session")
def tiny_run(tiny_dataset: Path, make_once: MakeOnce) -> Path:
    """A YOLO11n that was trained for two epochs on the tiny data set, and evaluated."""

    def build(folder: Path) -> None:
        train(tiny_dataset, folder, load_recipe("yolo11n-scratch", epochs=2, small_epochs=1, small_size=32, batch=16))
        evaluate(folder)

    return make_once("runs/tiny", build)


@pytest.fixture(scope="session")
def tiny_bundles(tiny_run: Path, make_once: MakeOnce) -> dict[str, Path]:
    """The tiny run's bundles, by format and precision: `tflite-fp32` to `openvino-int8`."""

    def build(folder: Path) -> None:
        folder.mkdir()
        run = open_run(tiny_run, calibration_images=24, seed=0)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("export.quantising.FLOAT_LAYERS", ())  # so few images are not worth a search
            patched.setattr("export.quantising.NEAR", 1.0)
            for model_format, precision in product(FORMATS, PRECISIONS):
                write_bundle(folder / f"{model_format}-{precision}.leuko", make_bundle(run, model_format, precision))

    folder = make_once("bundles", build)
    return {path.stem: path for path in folder.iterdir()}


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Start a broker on a free port with these lines in its settings; it is killed when the test has ended."""
    started = []

    def start(*lines: str) -> Broker:
        broker = Broker(tmp_path, *lines)
        broker.start()
        started.append(broker)
        return broker

    yield start
    for broker in started:
        broker.kill()
