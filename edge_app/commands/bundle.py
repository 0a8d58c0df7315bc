"""The commands `leukoscope bundle`: info, verify and pack, and install, list and rollback."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edge_app.bundle import Bundle, GoldenReport, check_golden, open_bundle
from edge_app.bundle import pack as write_packed
from edge_app.bundle_files import printable
from edge_app.errors import LeukoscopeError
from edge_app.folders import bundles_folder
from edge_app.installed import Installation, current_bundle_path, list_installed, roll_back
from edge_app.installed import install as install_bundle
from edge_app.judging import Range
from edge_app.manifest import Figure, Measured
from edge_app.runtimes import MAX_THREADS, Executed, load

MAX_LINE = 4000  # characters; a stranger's bundle may have any number


@click.group(epilog="Example: leukoscope bundle verify")
def command() -> None:
    """Show, verify, zip or install a bundle: a folder NAME.leuko, or one zipped. Without a name, the one in use."""


@command.command(epilog="Example: leukoscope bundle info yolo11n-int8.leuko")
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object: path, sha256, bytes and the whole manifest.")
def info(bundle: Path | None, as_json: bool) -> None:
    """Show what a bundle is, what it was measured to do, and where it refuses to judge."""
    path = bundle or current_bundle_path()
    opened = open_bundle(path)
    if as_json:
        size = sum(map(len, opened.files.values()))
        manifest = opened.manifest.model_dump(mode="json")
        click.echo(json.dumps({"path": str(path), "sha256": opened.sha256, "bytes": size, "manifest": manifest}))
    else:
        _print_info(opened)


@command.command(epilog="Example: leukoscope bundle verify yolo11n-int8.leuko yolo11n-fp32.zip")
@click.argument("bundles", metavar="[BUNDLE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--threads", type=click.IntRange(0, MAX_THREADS), default=0, help="Threads of the runtime; 0: all cores.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a bundle and line.")
@click.pass_context
def verify(context: click.Context, bundles: tuple[Path, ...], threads: int, as_json: bool) -> None:
    """Check files and manifest, and that this device computes what was measured; a line a bundle.

    A bundle that fails does not stop the others; the exit code is that of the first that failed.
    """
    exit_codes = []
    for path in bundles or (current_bundle_path(),):
        try:
            bundle = open_bundle(path)
            runtime = load(bundle, threads=threads)
            report = check_golden(bundle, runtime.infer)
        except LeukoscopeError as error:
            exit_codes.append(error.exit_code)
            failure = {"bundle": str(path), "ok": False, "error": str(error)}
            click.echo(json.dumps(failure) if as_json else printable(f"failed  {path}: {error}", MAX_LINE))
        else:
            click.echo(_success(path, bundle, report, runtime.describe(), as_json))
    context.exit(exit_codes[0] if exit_codes else 0)


@command.command(epilog="Example: leukoscope bundle pack bundles/yolo11n-int8.leuko yolo11n-int8.leuko")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Write over an older bundle there.")
def pack(bundle: Path, file: Path, replace: bool) -> None:
    """Write a bundle as one zipped FILE, to send it on; it stays the same bundle, with the same sha256."""
    opened = open_bundle(bundle)
    write_packed(file, opened, replace=replace)
    click.echo(f"{file}: {opened.manifest.name}, {file.stat().st_size / 1e6:.1f} MB, sha256 {opened.sha256}")


def _success(path: Path, bundle: Bundle, report: GoldenReport, executed: Executed, as_json: bool) -> str:
    """Return the line of a bundle that was verified."""
    if as_json:
        result = {"bundle": str(path), "ok": True, "sha256": bundle.sha256}
        return json.dumps(result | {"golden": asdict(report), "executed": asdict(executed)})
    return printable(
        f"ok      {path}: {len(bundle.files)} files, same label on {report.agreeing} of {report.images} golden images, "
        f"probabilities at most {report.largest_difference:.2g} apart ({report.tolerance:g} allowed); {executed}",
        MAX_LINE,
    )


folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    help="Folder of the installed bundles; without it $LEUKOSCOPE_BUNDLE_FOLDER or ~/.local/share/leukoscope/bundles.",
)


@command.command(epilog="Example: leukoscope bundle install yolo11n-int8.leuko")
@click.argument("source", metavar="FILE|URL")
@click.option("--sha256", help="Of the file, or of the bundle; a URL needs it, or a file URL.sha256 beside it.")
@click.option("--timeout", type=click.FloatRange(1), default=1800, show_default=True, help="Seconds for a download.")
@click.option("--threads", type=click.IntRange(0, MAX_THREADS), default=0, help="Threads of the runtime; 0: all cores.")
@folder_option
def install(source: str, sha256: str | None, timeout: float, threads: int, folder: Path | None) -> None:
    """Make a bundle the one in use, once it is whole and this device computes with it what was measured.

    The bundle that was in use is kept, for rollback. What runs already, goes on with it until it is started again.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("download", total=None, visible="://" in source)
        done = install_bundle(
            source,
            folder or bundles_folder(),
            sha256=sha256,
            threads=threads,
            timeout_s=timeout,
            on_progress=lambda here, total: progress.update(bar, completed=here, total=total),
        )
    _print_installation(done)


@command.command(epilog="Example: leukoscope bundle rollback")
@click.option("--threads", type=click.IntRange(0, MAX_THREADS), default=0, help="Threads of the runtime; 0: all cores.")
@folder_option
def rollback(threads: int, folder: Path | None) -> None:
    """Go back to the bundle that was in use before, once it is checked as a new one is."""
    _print_installation(roll_back(folder or bundles_folder(), threads=threads))


@command.command(name="list", epilog="Example: leukoscope bundle list")
@folder_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a bundle and line.")
def list_(folder: Path | None, as_json: bool) -> None:
    """List the installed bundles and the shipped one; * marks the one in use."""
    for each in list_installed(folder or bundles_folder()):
        sha256 = each.bundle.sha256 if each.bundle else None
        if as_json:
            line = {"name": each.name, "path": str(each.path), "current": each.current, "sha256": sha256}
            click.echo(json.dumps(line | {"problem": each.problem}))
        else:
            said = f"sha256 {sha256}" if each.bundle else f"can't be used: {each.problem}"
            click.echo(printable(f"{'*' if each.current else ' '} {each.name}  {said}", MAX_LINE))


def _print_installation(done: Installation) -> None:
    click.echo(_success(done.path, done.bundle, done.report, done.executed, as_json=False))
    click.echo("It is in use from now on; start again what runs already: systemctl restart leukoscope")


def _print_info(bundle: Bundle) -> None:
    from rich.console import Console
    from rich.table import Table

    # Piped output is read by programs that wrap by themselves.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 1000)
    facts = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in _facts(bundle).items():
        facts.add_row(name, _clean(value))
    figures = Table("split", "part", "images", "figure", "source model", "this bundle", box=None, padding=(0, 2, 0, 0))
    for row in _figures(bundle.manifest.measured):
        figures.add_row(*map(_clean, row))
    console.print(facts)
    console.print()
    console.print(figures)
    notes = (f"{each.split}, {each.part}: {each.note}" for each in bundle.manifest.measured if each.note)
    for note in dict.fromkeys(notes):
        console.print(_clean(note))


def _facts(bundle: Bundle) -> dict[str, str]:
    """Return what is said above the figures, by its name."""
    manifest = bundle.manifest
    gate, decision, shape = manifest.gate, manifest.decision, manifest.preprocessing
    rule = (
        f"{decision.positive} from a probability of {decision.threshold:g} on" if decision.positive else "most probable"
    )
    calibration, scale = manifest.calibration, manifest.scale
    return {
        "name": manifest.name,
        "model": f"{manifest.model}, for the task {manifest.task}",
        "format": f"{manifest.format}, {manifest.precision}"
        + (f", calibrated on {calibration.images} training images" if calibration else ""),
        "classes": ", ".join(manifest.classes),
        "input": f"{shape.width}×{shape.height} pixels",
        "scale": f"red cells {scale.red_cell_px:.1f} pixels wide, {scale.um_per_pixel:.2f} µm a pixel of the input"
        if scale
        else "unknown: every frame is taken for one field",
        "size": f"{len(bundle.read(manifest.model_file)) / 1e6:.2f} MB the model, "
        f"{sum(map(len, bundle.files.values())) / 1e6:.2f} MB in all",
        "certified": f"{'yes' if gate.certified else 'NO'}: same label as the source model on {gate.agreement:.2%} of "
        f"{gate.images} validation images, accuracy {gate.accuracy_change:+.2f} points, probabilities at most "
        f"{gate.largest_probability_difference:.3f} apart",
        "not sure of": ", ".join(f"{share:.1%} of {name}" for name, share in gate.abstained.items()),
        "decision": f"{rule}; temperature {decision.temperature:g}",
        "limits": ", ".join(f"{name} {_limit(value)}" for name, value in manifest.limits),
        "trained on": "\n".join(f"{each.name}, {each.images} images: {each.citation}" for each in manifest.data),
        "made": f"{manifest.created_at.isoformat()} by leukoscope {manifest.leukoscope}, "
        + ", ".join(f"{name} {version}" for name, version in manifest.libraries.items()),
        "intended use": manifest.intended_use,
        "sha256": bundle.sha256,
    }


def _limit(value: Any) -> str:
    return f"{value.low:g} to {value.high:g}" if isinstance(value, Range) else f"{value:g}"


def _figures(measured: tuple[Measured, ...]) -> list[tuple[str, ...]]:
    """Return rows of split, part, images, figure, and the figure's value for the source model and the bundle."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for each in measured:
        for name, figure in each.figures.items():
            rows.setdefault((each.split, each.part, str(each.images), name), {})[each.model] = _figure(figure)
    return [(*key, values.get("source", ""), values.get("bundle", "")) for key, values in rows.items()]


def _figure(figure: Figure) -> str:
    interval = "" if figure.low is None or figure.high is None else f" ({figure.low:.3f} to {figure.high:.3f})"
    return f"{figure.value:.3f}{interval}"


def _clean(text: str) -> str:
    """Return a bundle's text without what would steer the terminal."""
    return "\n".join(printable(line, MAX_LINE) for line in text.split("\n"))
