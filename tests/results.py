"""Small valid results of `leukoscope bench` for tests: invented figures, whose shape is what counts.

`python -m tests.results FOLDER` writes latency.json and accuracy.json.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.result_files import write_results
from benchmarks.results import (
    AccuracyData,
    AccuracyResults,
    AccuracyRun,
    Agreement,
    BundleFacts,
    Conditions,
    Energy,
    Environment,
    Executed,
    FrameSize,
    LatencyResults,
    LatencyRun,
    Measurement,
    Minimum,
    Minute,
    Mistake,
    Once,
    Perturbation,
    Series,
    Sustained,
)
from edge_app.manifest import Figure, Measured

STARTED = datetime(2026, 11, 23, 5, tzinfo=UTC)
SIZE = FrameSize(width=1280, height=960)


def environment(**changes: object) -> Environment:
    """A Raspberry Pi 5, with some fields changed."""
    return Environment(
        device="Raspberry Pi 5 Model B Rev 1.0",
        system="Debian GNU/Linux 13 (trixie)",
        kernel="6.12.25",
        machine="aarch64",
        processor="Cortex-A76 (asimddp)",
        emulated=False,
        cores=4,
        governor="ondemand",
        memory_bytes=8_454_144_000,
        python="3.13.5",
        leukoscope="0.1.0",
        libraries={"ai-edge-litert": "2.1.0", "numpy": "2.3.0"},
    ).replace(**changes)


def facts(name: str = "tiny", **changes: object) -> BundleFacts:
    """A bundle of any name; its sha256 follows from that, its figures are on its card."""
    return BundleFacts(
        name=name,
        sha256=f"{sum(name.encode()):064x}",
        model="yolo11n",
        task="normal-cancer",
        format="tflite",
        precision="int8",
        classes=("Cancer", "Normal"),
        input_shape=(1, 224, 224, 3),
        model_bytes=1_800_000,
        bundle_bytes=3_000_000,
        certified=True,
        dataset_sha256="1" * 64,
        measured=(
            Measured(
                model="bundle",
                split="scene",
                part="test",
                images=489,
                figures={"accuracy": Figure(value=0.98, low=0.96, high=0.99), "specificity": Figure(value=0.95)},
            ),
        ),
    ).replace(**changes)


def executed(threads: int = 4) -> Executed:
    return Executed(
        library="ai_edge_litert", version="2.1.0", precision="int8", threads=threads, device="CPU with XNNPACK"
    )


def conditions(seconds: float = 0.0, **changes: object) -> Conditions:
    """A cool board that is not slowed down."""
    return Conditions(
        seconds=seconds,
        temperature_c=48.0 + seconds / 100,
        clock_mhz=2400,
        governor="ondemand",
        throttled=(),
        throttled_since_boot=(),
        load=0.2,
    ).replace(**changes)


def series(milliseconds: float, repeats: int = 5, seed: int = 0) -> Series:
    """Queries that take about so long."""
    draw = np.random.default_rng(seed)
    return Series.of([(1e6 * milliseconds * draw.gamma(50, 1 / 50, 100)).astype(int).tolist() for _ in range(repeats)])


def latency_run(
    bundle: BundleFacts | None = None,
    *,
    infer_ms: float = 10.0,
    memory_bytes: float = 120e6,
    watts: float | None = 5.0,
    threads: int = 4,
    invalid: Sequence[str] = (),
    sustained_minutes: int = 0,
) -> LatencyRun:
    """A run of a bundle whose model takes so long, and 4 ms for the rest."""
    total_ms = infer_ms + 4

    def energy(milliseconds: float) -> Energy | None:
        if watts is None:
            return None
        return Energy(
            source="vcgencmd pmic_read_adc", watts=watts, joules_per_query=watts * milliseconds / 1e3, idle_watts=2.5
        )

    return LatencyRun(
        bundle=bundle or facts(),
        threads=threads,
        executed=executed(threads),
        load_ms=Once.of([80.0, 81.0, 79.0, 80.5, 80.0]),
        first_inference_ms=Once.of([30.0] * 5),
        first_verdict_ms=Once.of([400.0, 390.0, 410.0, 400.0, 400.0]),
        measurements=(
            Measurement(
                case="bare",
                size=None,
                frames=0,
                stages={"infer": series(infer_ms * 0.99)},
                peak_memory_bytes=None,
                energy=energy(infer_ms),
                complete=True,
            ),
            Measurement(
                case="model",
                size=None,
                frames=0,
                stages={"infer": series(infer_ms)},
                peak_memory_bytes=None,
                energy=energy(infer_ms),
                complete=True,
            ),
            Measurement(
                case="frame",
                size=SIZE,
                frames=4,
                stages={
                    "prepare": series(3),
                    "infer": series(infer_ms),
                    "judge": series(1),
                    "total": series(total_ms),
                },
                peak_memory_bytes=Once.of([memory_bytes] * 5),
                energy=energy(total_ms),
                complete=True,
            ),
        ),
        sustained=Sustained(
            size=SIZE,
            complete=True,
            minutes_asked=sustained_minutes,
            minutes=tuple(
                Minute(
                    seconds=60,
                    times=series(total_ms * (1 + 0.01 * minute), 1).median,
                    conditions=conditions(60.0 * minute, temperature_c=50.0 + minute),
                    watts=watts,
                )
                for minute in range(1, sustained_minutes + 1)
            ),
        )
        if sustained_minutes
        else None,
        conditions=(conditions(), conditions(300.0)),
        invalid=tuple(invalid),
    )


def latency_results(*runs: LatencyRun, **changes: object) -> LatencyResults:
    """Results of a benchmark of some runs, of a valid one by default."""
    return LatencyResults(
        environment=environment(),
        started_at=STARTED,
        finished_at=STARTED.replace(hour=6),
        preset="normal",
        minimum=Minimum(queries=1024, seconds=60),
        warm_ups=10,
        repeats_asked=5,
        frames="drawn",
        runs=runs or (latency_run(),),
    ).replace(**changes)


def accuracy_run(bundle: BundleFacts | None = None, *, accuracy: float = 0.98, **changes: object) -> AccuracyRun:
    """A run on 489 images."""
    figures = {
        name: Figure(value=value, low=max(0.0, value - 0.02), high=min(1.0, value + 0.02))
        for name, value in {"accuracy": accuracy, "recall": accuracy, "specificity": accuracy - 0.02}.items()
    }
    return AccuracyRun(
        bundle=bundle or facts(),
        executed=executed(),
        perturbation=None,
        images=489,
        figures=figures,
        confusion=((404, 5), (4, 76)),
        coverage=Figure(value=0.97, low=0.95, high=0.98),
        abstained={"low_confidence": 12, "out_of_focus": 3},
        abstained_by_class={"Cancer": Figure(value=0.03), "Normal": Figure(value=0.04)},
        answered=figures,
        strict=figures,
        agreement=(
            Agreement(
                name="other", sha256="3" * 64, same_label=Figure(value=0.99), largest_probability_difference=0.08
            ),
        ),
        mistakes=(
            Mistake(
                image="Benign/1.jpg",
                truth="Normal",
                named="Cancer",
                probability=0.7,
                label=None,
                indeterminate="low_confidence",
            ),
        ),
        held_out=True,
        invalid=(),
    ).replace(**changes)


def accuracy_results(*runs: AccuracyRun, **changes: object) -> AccuracyResults:
    """Results of some runs: by default one plain, and one blurred."""
    blurred = accuracy_run(accuracy=0.9, perturbation=Perturbation(kind="blur", strength=2))
    return AccuracyResults(
        environment=environment(),
        started_at=STARTED,
        finished_at=STARTED.replace(hour=6),
        data=AccuracyData(
            name="scene",
            layout="data set",
            part="test",
            images={"Cancer": 409, "Normal": 80},
            list_sha256="4" * 64,
            judged_from="image files",
        ),
        runs=runs or (accuracy_run(), blurred),
    ).replace(**changes)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    write_results(folder / "latency.json", latency_results(latency_run(sustained_minutes=30)))
    write_results(folder / "accuracy.json", accuracy_results())
