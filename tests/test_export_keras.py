import hashlib
import os
import shutil
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.run_folder import RunRecord, read_record
from edge_app.bundle import check_golden, open_bundle
from edge_app.cli import leukoscope
from edge_app.errors import ExportError
from edge_app.runtimes import load
from export.keras_torch import classifier
from tests.tiny_networks import pictures, tiny_keras_model

# Keras saves the constants of its scaling by a way that numpy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def keras_run(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a Keras model that scales its pixels in the graph; the decision in it is YOLO's."""
    folder = tmp_path_factory.mktemp("runs") / "keras"
    shutil.copytree(tiny_run, folder, ignore=shutil.ignore_patterns("ultralytics", "weights.pt"))
    tiny_keras_model("ResNet50", preprocess_input=True).save(folder / "model.keras")
    record = read_record(folder / "run.json", RunRecord).replace(
        model="resnet50",
        framework="keras",
        backend="tensorflow",
        weights_file="model.keras",
        weights_sha256=hashlib.sha256((folder / "model.keras").read_bytes()).hexdigest(),
    )
    (folder / "run.json").write_text(record.model_dump_json())
    return folder


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_a_keras_run_becomes_a_bundle_that_proves_itself(keras_run: Path, tmp_path: Path, model_format: str) -> None:
    arguments = ["export", str(keras_run), "--format", model_format, "--precision", "fp32", "-o", str(tmp_path)]
    result = CliRunner().invoke(leukoscope, arguments)
    assert result.exit_code == 0, result.output
    bundle = open_bundle(tmp_path / f"resnet50-scene-{model_format}-fp32.leuko")
    assert bundle.manifest.gate.agreement == 1
    assert bundle.manifest.gate.largest_probability_difference < 1e-4
    assert check_golden(bundle, load(bundle, threads=1).infer).agreeing == 8


@pytest.mark.parametrize("name", ["ResNet50", "InceptionResNetV2"])
def test_keras_own_scaling_of_pixels_is_converted_with_the_model(name: str) -> None:
    import torch

    model = tiny_keras_model(name, preprocess_input=True)
    images = pictures(4, model.input_shape[1])
    with torch.inference_mode():
        found = classifier(model)(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float()).numpy()
    assert np.abs(found - np.asarray(model(images.astype(np.float32), training=False))).max() < 1e-3


def test_a_layer_that_is_not_known_is_named() -> None:
    import keras

    pixels = keras.Input((16, 16, 3))
    model = keras.Model(pixels, keras.layers.Dense(2)(keras.layers.Flatten()(keras.layers.UnitNormalization()(pixels))))
    with pytest.raises(ExportError, match="UnitNormalization"):
        classifier(model)
