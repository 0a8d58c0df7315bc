"""Images a second in training: `leukoscope train` beside the bare library's own loop on the same images.

    python -m benchmarks.training_throughput --data datasets/random --model yolo11n --model resnet50

Both run what the study's published code runs, from random weights, in processes of their own and by turns: ours with
the recipe MODEL-published-code, bare as the library's documentation trains on a folder of images, its augmentation
included. What is timed is the epoch, validation and checkpoint with it; the first, in which libraries compile and
read, is not counted. Keras runs on tensorflow, whose input pipeline its documentation feeds it by.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from benchmarks.dataset import DatasetManifest, read_dataset
from edge_app.cli import run_command
from edge_app.errors import TrainingError

BATCHES = {"yolo11n": 32, "yolo11s": 32, "yolov8s": 8, "resnet50": 8, "inception_resnet_v2": 8}
APPLICATIONS = {"resnet50": "ResNet50", "inception_resnet_v2": "InceptionResNetV2"}
BARE_YOLO = """
from benchmarks.torch_pair import import_torchvision
import_torchvision()
from ultralytics import YOLO

YOLO(f"{model}-cls.yaml").train(
    data=data, project=output, name="run", epochs=epochs, imgsz=size, batch=batch, optimizer="SGD", lr0=0.001,
    cache="ram", plots=False, device="cpu",
)
"""
BARE_KERAS = """
import time
from pathlib import Path
from benchmarks.keras_backend import import_keras
keras = import_keras()
times = []

def part(name):
    return keras.utils.image_dataset_from_directory(f"{data}/{name}", image_size=(size, size), batch_size=batch).cache()

augment = keras.Sequential(
    [keras.layers.RandomFlip("horizontal"), keras.layers.RandomRotation(0.5), keras.layers.RandomZoom(0.2, 0.2)]
)
train = part("train").map(lambda images, labels: (augment(images, training=True), labels)).prefetch(4)
trunk = getattr(keras.applications, application)(
    include_top=False, weights=None, input_shape=(size, size, 3), pooling="avg"
)
network = keras.Model(trunk.input, keras.layers.Dense(classes, activation="softmax")(trunk.output))
network.compile(keras.optimizers.AdamW(0.001), "sparse_categorical_crossentropy", metrics=["accuracy"])
best = keras.callbacks.ModelCheckpoint(f"{output}/best.keras", save_best_only=True)
clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: times.append(time.monotonic()))
network.fit(train, validation_data=part("val"), epochs=epochs, callbacks=[best, clock], verbose=2)
Path(output, "times").write_text(" ".join(map(str, times)))
"""


def ours(model: str, data: Path, manifest: DatasetManifest, epochs: int, folder: Path) -> float:
    """Return the images a second of leukoscope train."""
    size = manifest.preprocessing.height
    arguments = ["--data", str(data), "--output", str(folder / "ours"), "--epochs", str(epochs)]
    arguments += ["--set", "pretrained=false", "--batch", str(BATCHES[model])]
    if model in APPLICATIONS:
        arguments += ["--set", f"size={size}"]
    _run([sys.executable, "-m", "edge_app", "train", f"{model}-published-code", *arguments])
    with (folder / "ours" / "history.csv").open(newline="") as file:
        return _rate([float(row["seconds"]) for row in csv.DictReader(file)], manifest)


def bare(model: str, data: Path, manifest: DatasetManifest, epochs: int, folder: Path) -> float:
    """Return the images a second of the library's own loop."""
    values = {
        "model": model,
        "application": APPLICATIONS.get(model),
        "data": str(data.resolve()),
        "output": str(folder),
        "epochs": epochs,
        "size": manifest.preprocessing.height,
        "batch": BATCHES[model],
        "classes": len(manifest.classes),
    }
    given = f"import json\nglobals().update(json.loads({json.dumps(values)!r}))\n"
    _run([sys.executable, "-c", given + (BARE_KERAS if model in APPLICATIONS else BARE_YOLO)])
    if model in APPLICATIONS:
        return _rate([float(each) for each in (folder / "times").read_text().split()], manifest)
    with (folder / "run" / "results.csv").open(newline="") as file:
        return _rate([float(row["time"]) for row in csv.DictReader(file)], manifest)


def _rate(ends: list[float], manifest: DatasetManifest) -> float:
    """Return the images a second from the times at which epochs ended, the median of all but the first."""
    return len(manifest.select("train")) / statistics.median(after - before for before, after in pairwise(ends))


def _run(command: list[str]) -> None:
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    finished = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, check=False
    )
    if finished.returncode:
        raise TrainingError(f"a training failed: {finished.stdout.strip().splitlines()[-1]}; mend that and start again")


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), help="A data set made by dataset build.")
@click.option("--model", "models", multiple=True, type=click.Choice(list(BATCHES)), help="All five unless given.")
@click.option("--epochs", default=3, show_default=True, type=click.IntRange(2))
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1), help="How often each takes its turn.")
def main(data: Path, models: tuple[str, ...], epochs: int, rounds: int) -> None:
    """Print a line a model: our images a second, the library's, and their ratio; medians over the rounds."""
    manifest = read_dataset(data)
    for model in models or BATCHES:
        rates: dict[str, list[float]] = {"ours": [], "bare": []}
        for number in range(rounds):
            for loop in (ours, bare) if number % 2 == 0 else (bare, ours):
                with TemporaryDirectory(prefix="leukoscope-throughput-") as folder:
                    rates[loop.__name__].append(loop(model, data, manifest, epochs, Path(folder)))
        mine, theirs = (statistics.median(rates[name]) for name in ("ours", "bare"))
        click.echo(f"{model}: ours {mine:.1f} images/s, bare {theirs:.1f}, ratio {mine / theirs:.2f}; {rates}")


if __name__ == "__main__":
    run_command(main, "training_throughput")
