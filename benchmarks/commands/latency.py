"""The command `leukoscope bench latency`."""

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from benchmarks.commands.sizes import DEFAULT, EXCLUSIVE, SIZE
from edge_app.runtimes import MAX_THREADS

if TYPE_CHECKING:
    from rich.progress import Progress

    from benchmarks.reels import Reel
    from benchmarks.results import LatencyResults, Measurement, PresetName

SWEEP = (1, 2, 4)
BUSY = 0.5  # of the cores, by the load of the last minute


def _threads(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:  # noqa: ARG001
    """Return the numbers in 1,2,4, each once."""
    pieces = value.split(",") if value is not None else []
    if not all(re.fullmatch(r"\s*[0-9]{1,3}\s*", piece) and 1 <= int(piece) <= MAX_THREADS for piece in pieces):
        raise click.BadParameter(f"{value!r} is not one or more numbers from 1 to {MAX_THREADS}, such as 1,2,4")
    return tuple(dict.fromkeys(map(int, pieces))) or None


@click.command(epilog="Example: leukoscope bench latency bundles/*.leuko --threads 1,4 --output pi5.json")
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--preset",
    type=click.Choice(["normal", "quick", "rapid"]),
    default="quick",
    show_default=True,
    help="What each measurement must reach: normal 1024 queries and 60 s, quick 128 and 10 s, rapid 64 and 6 s.",
)
@click.option(
    "--threads",
    callback=_threads,
    metavar="N,N",
    help="Of the runtime, such as 1,2,4; default those of 1,2,4 it has cores for.",
)
@click.option(
    "--size",
    "sizes",
    type=SIZE,
    metavar="WxH",
    multiple=True,
    help="Of the drawn frames; may be repeated. [1280x960]",
)
@click.option(
    "--frames", type=click.Path(path_type=Path), help="Image files instead of drawn frames, at their own size."
)
@click.option(
    "--repeats", type=click.IntRange(1, 1000), default=5, show_default=True, help="Of everything; the median counts."
)
@click.option(
    "--sustained",
    type=click.FloatRange(0, 1440),
    default=0.0,
    metavar="MINUTES",
    help="Then so long without rest, minute by minute.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="A JSON file for the results.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def command(
    bundles: tuple[Path, ...],
    preset: "PresetName",
    threads: tuple[int, ...] | None,
    sizes: tuple[tuple[int, int], ...],
    frames: Path | None,
    repeats: int,
    sustained: float,
    output: Path | None,
    as_json: bool,
) -> None:
    """Time bundles on this device: the model alone, the library's bare call, and from frame to verdict.

    Without a bundle, the shipped one. Ctrl-C ends it and keeps what was measured, marked as too short. End other
    programs before: they are measured with it. The preparation of frames always uses all cores.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from benchmarks.latency import PRESETS, measure_latency
    from benchmarks.result_files import check_output, write_results
    from edge_app.bundle import default_bundle_path, open_bundle

    if frames and sizes:
        raise click.UsageError(EXCLUSIVE)
    paths = bundles or (default_bundle_path(),)
    # what can go wrong does so now, not when frames were drawn and hours went by
    for path in paths:
        open_bundle(path)
    if output:
        check_output(output)
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    if load > BUSY * cores:
        click.echo(
            f"warning: other programs keep this device busy (load {load:.1f} on {cores} cores) and are measured with "
            "it; end them first",
            err=True,
        )
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(compact=True)
    with (
        tempfile.TemporaryDirectory(prefix="leukoscope-bench-") as folder,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        reels = _reels(Path(folder), sizes or (DEFAULT,), frames, progress)
        bar = progress.add_task("starting", total=None)
        results = measure_latency(
            paths,
            reels,
            threads=threads or [count for count in SWEEP if count <= cores],
            minimum=PRESETS[preset],
            repeats=repeats,
            preset=preset,
            frames_are_files=frames is not None,
            sustained_minutes=sustained,
            on_progress=lambda done, total, text: progress.update(bar, completed=done, total=total, description=text),
        )
    if output:
        write_results(output, results)
    if as_json:
        click.echo(results.model_dump_json())
    else:
        print_latency(results)


def print_latency(results: "LatencyResults") -> None:
    """Print a table with a line a measurement, what was executed, and what is wrong with which configuration."""
    from rich.console import Console
    from rich.table import Table

    # Piped output is read by programs that wrap by themselves.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 1000)
    table = Table("threads", "ms, median of repeats", "p50", "p90", "p99", "spread", "MB", "J", box=None)
    for run in results.runs:
        table.add_row("", f"{run.bundle.name}{' INVALID' if run.invalid else ''}", style="bold")
        for each in run.measurements:
            table.add_row(str(run.threads), *_cells(each))
    console.print(table)
    for run in results.runs:
        console.print(
            f"{run.bundle.name}, {run.threads} thread{'s' if run.threads > 1 else ''}: {run.executed.library} "
            f"{run.executed.version} executes {run.executed.precision}; load {run.load_ms.median:.0f} ms, "
            f"first inference {run.first_inference_ms.median:.1f} ms, "
            f"start to first verdict {run.first_verdict_ms.median:.0f} ms"
        )
        for number, minute in enumerate(run.sustained.minutes if run.sustained else (), 1):
            degrees = minute.conditions.temperature_c
            console.print(
                f"  minute {number}: p50 {minute.times.p50_ms:.1f} ms, p90 {minute.times.p90_ms:.1f} ms"
                + ("" if degrees is None else f", {degrees:.0f} °C")
                + ("".join(f", {word}" for word in minute.conditions.throttled or ()))
            )
        if run.sustained and not run.sustained.complete:
            console.print(f"  stopped before its {run.sustained.minutes_asked:g} minutes without rest were over")
        for reason in run.invalid:
            console.print(f"  invalid: {reason}")


def _cells(measurement: "Measurement") -> tuple[str, ...]:
    stages = measurement.stages
    quoted = stages["total" if measurement.case == "frame" else "infer"]
    times, memory, energy = quoted.median, measurement.peak_memory_bytes, measurement.energy
    parts = " + ".join(f"{stage} {stages[stage].median.p50_ms:.1f}" for stage in stages if stage != "total")
    name = {
        "bare": "the library's bare call",
        "model": "model alone",
        "frame": f"frame {measurement.size} to verdict ({parts})",
    }
    return (
        name[measurement.case],
        f"{times.p50_ms:.2f}",
        f"{times.p90_ms:.2f}",
        f"{times.p99_ms:.2f}",
        f"{quoted.spread:.0%}",
        f"{memory.median / 1e6:.0f}" if memory else "",
        f"{energy.joules_per_query:.3f}" if energy else "",
    )


def _reels(folder: Path, sizes: tuple[tuple[int, int], ...], frames: Path | None, progress: "Progress") -> "list[Reel]":
    from benchmarks.reels import draw_reels, reels_of_files
    from edge_app.images import find_images

    task = progress.add_task("reading frames" if frames else "drawing frames", total=None)

    def on_frame(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    reels = reels_of_files(folder, find_images(frames), on_frame) if frames else draw_reels(folder, sizes, on_frame)
    progress.remove_task(task)
    return reels
