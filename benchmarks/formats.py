"""Bundles of some models in every format and precision beside each other: `python -m benchmarks.formats BUNDLE…`.

The times are those of `leukoscope bench latency`, all bundles in one run, each repeat in the opposite order; accuracy,
agreement and size stand in the bundles' manifests, where the export put what the device's own code gave.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.graphs import executed_operations, listing
from benchmarks.latency import measure_latency
from benchmarks.page import Column, Section, Table, markdown
from benchmarks.reels import draw_reels
from benchmarks.result_files import check_output, read_results, write_results
from benchmarks.results import LatencyResults, LatencyRun, Minimum
from edge_app.bundle import Bundle, open_bundle
from edge_app.cli import run_command
from edge_app.errors import InputError
from edge_app.manifest import Manifest
from edge_app.runtimes import model_of

COLUMNS = (
    Column("bundle", False),
    Column("certified", False),
    Column("test accuracy %"),
    Column("specificity %"),
    Column("agreement %"),
    Column("largest difference"),
    Column("MB"),
    Column("of fp32 %"),
    Column("1 thread p50 ms"),
    Column("× fp32"),
    Column("2 threads p50 ms"),
    Column("× fp32"),
    Column("executed", False),
    Column("left in float", False),
)


@click.command()
@click.argument("paths", metavar="BUNDLE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="A Markdown file.")
@click.option("--latency", type=click.Path(path_type=Path), help="Times measured before, instead of measuring now.")
@click.option("--seconds", type=click.FloatRange(0.1), default=6.0, show_default=True, help="Of each measurement.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Of everything; medians count.")
def command(paths: tuple[Path, ...], output: Path, latency: Path | None, seconds: float, repeats: int) -> None:
    """Write a table of bundles, and what their graphs are made of, as Markdown; the times beside it as JSON."""
    from rich.console import Console
    from rich.progress import Progress

    times = output.with_suffix(".json")
    if times == output:
        raise InputError(f"{output} is where the times go; name --output a Markdown file, such as {output.stem}.md")
    check_output(output)
    bundles = [open_bundle(path) for path in paths]
    if latency:
        results = read_results(latency)
        if not isinstance(results, LatencyResults):
            raise InputError(f"{latency} has no times; name a file that leukoscope bench latency or this wrote")
    else:
        check_output(times)
        with (
            tempfile.TemporaryDirectory(prefix="leukoscope-bench-") as folder,
            Progress(console=Console(stderr=True), transient=True) as progress,
        ):
            bar = progress.add_task("starting", total=None)
            results = measure_latency(
                paths,
                draw_reels(Path(folder), [(640, 480)]),
                threads=[count for count in (1, 2) if count <= len(os.sched_getaffinity(0))],
                minimum=Minimum(queries=max(1, round(10 * seconds)), seconds=seconds),
                repeats=repeats,
                on_progress=lambda done, total, text: progress.update(
                    bar, completed=done, total=total, description=text
                ),
            )
        write_results(times, results)
    output.write_text(page(bundles, results), "utf-8")


def page(bundles: Sequence[Bundle], results: LatencyResults) -> str:
    """Return the Markdown: for each model its bundles, then the operations that the libraries make of each here."""
    environment = results.environment
    where = (
        f"Measured on {environment.processor}, {environment.cores} cores, {environment.system}, "
        f"{results.repeats_asked} repeats of {results.minimum.seconds:g} s and {results.minimum.queries} pictures or "
        "more, all bundles in one run. × fp32: time over that of the same model and format in float32. Accuracy and "
        "specificity: test part of the model's own data set; agreement with the source model and largest difference "
        "of a probability: validation part."
    )
    invalid = sorted({reason for run in results.runs for reason in run.invalid})
    sections = [Section("How to read this", text=(where, *(f"Not to be compared: {reason}." for reason in invalid)))]
    for model in dict.fromkeys(bundle.manifest.model for bundle in bundles):
        chosen = [bundle for bundle in bundles if bundle.manifest.model == model]
        sections.append(Section(model, advice=_advice(chosen, results), table=_table(chosen, results)))
    sections.append(Section("Graphs", table=_graphs(bundles)))
    return markdown("Formats and precisions", sections, results.finished_at)


def _advice(bundles: Sequence[Bundle], results: LatencyResults) -> tuple[str, ...]:
    """Return which certified bundle is the fastest here on one thread, and which is the smallest."""
    times = {bundle.manifest.name: _p50(results, bundle, 1) for bundle in bundles if bundle.manifest.gate.certified}
    timed = {name: time for name, time in times.items() if time is not None}
    if not timed:
        return ()
    fastest = min(timed, key=lambda name: timed[name])
    sizes = {bundle.manifest.name: _bytes(bundle) for bundle in bundles if bundle.manifest.name in times}
    smallest = min(sizes, key=lambda name: sizes[name])
    return (f"Fastest certified here on one thread: {fastest}.", f"Smallest: {smallest}.")


def _table(bundles: Sequence[Bundle], results: LatencyResults) -> Table:
    rows = []
    for bundle in bundles:
        manifest = bundle.manifest
        plain = next((other for other in bundles if _is_plain(other.manifest, manifest)), None)
        run = _run(results, bundle, 1)
        figures = {
            name: figure
            for each in manifest.measured
            if each.model == "bundle" and each.part == "test" and not each.note
            for name, figure in each.figures.items()
        }
        accuracy, specificity = (figures.get(name) for name in ("accuracy", "specificity"))
        rows.append(
            (
                manifest.name,
                "yes" if manifest.gate.certified else "NO",
                f"{100 * accuracy.value:.2f}" if accuracy else "",
                f"{100 * specificity.value:.2f}" if specificity else "",
                f"{100 * manifest.gate.agreement:.2f}",
                f"{manifest.gate.largest_probability_difference:.4f}",
                f"{_bytes(bundle) / 1e6:.1f}",
                f"{100 * _bytes(bundle) / _bytes(plain):.0f}" if plain else "",
                *_beside(results, bundle, plain, 1),
                *_beside(results, bundle, plain, 2),
                f"{run.executed.library} {run.executed.version}, {run.executed.precision}" if run else "",
                ", ".join(manifest.calibration.float_layers) if manifest.calibration else "",
            )
        )
    return Table(COLUMNS, tuple(rows))


def _graphs(bundles: Sequence[Bundle]) -> Table:
    """Return for each bundle the operations that are executed, with their counts."""
    columns = (Column("bundle", False), Column("operations, type of their first input", False))
    return Table(
        columns,
        tuple((bundle.manifest.name, listing(executed_operations(model_of(bundle)))) for bundle in bundles),
    )


def _beside(results: LatencyResults, bundle: Bundle, plain: Bundle | None, threads: int) -> tuple[str, str]:
    """Return a bundle's median in ms, and as a multiple of the float32 one's."""
    ours, theirs = _p50(results, bundle, threads), _p50(results, plain, threads) if plain else None
    return (f"{ours:.2f}" if ours else "", f"{ours / theirs:.2f}" if ours and theirs else "")


def _p50(results: LatencyResults, bundle: Bundle, threads: int) -> float | None:
    run = _run(results, bundle, threads)
    measurement = run.find("model") if run else None
    return measurement.stages["infer"].median.p50_ms if measurement else None


def _run(results: LatencyResults, bundle: Bundle, threads: int) -> LatencyRun | None:
    return next(
        (run for run in results.runs if run.bundle.sha256 == bundle.sha256 and run.threads == threads),
        None,
    )


def _is_plain(other: Manifest, manifest: Manifest) -> bool:
    """Return whether another bundle is the same run's in the same format and in float32."""
    return (
        other.precision == "fp32"
        and other.format == manifest.format
        and other.weights_sha256 == manifest.weights_sha256
    )


def _bytes(bundle: Bundle) -> int:
    return model_of(bundle).size


if __name__ == "__main__":
    run_command(command, "formats")
