"""The commands `leukoscope records list` and `leukoscope records export`."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
from pydantic import ValidationError

from edge_app.bundle_files import printable
from edge_app.errors import StoreError
from edge_app.settings import load_settings

if TYPE_CHECKING:
    from edge_app.store import Filter, Record, Records

F = TypeVar("F", bound=Callable[..., Any])
DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.group(epilog="Example: leukoscope records list --label Cancer --since 2026-11-01")
def command() -> None:
    """List the verdicts that were kept, or export them with their images; also while the app runs."""


def store_options(function: F) -> F:
    """Add the options that say where the records are, and which are meant."""
    for option in (
        click.option("--deleted", is_flag=True, help="The deleted records, which can still be restored."),
        click.option("--until", type=DATE, help="Captured before this time, UTC."),
        click.option("--since", type=DATE, help="Captured at this time, UTC, or later."),
        click.option("--text", default="", help="A text in slide, operator, note, own label or comment."),
        click.option("--device", help="The name of the device that made the record."),
        click.option("--operator", help="The operator."),
        click.option("--slide", help="The slide."),
        click.option("--own-label", help="A person's own label."),
        click.option("--indeterminate/--judged", default=None, help="Only records without, or with, a model's label."),
        click.option("--label", help="The model's label, such as Cancer."),
        click.option("--database", help="The database's URL; without it that of the settings, or SQLite."),
        click.option(
            "--folder", type=click.Path(path_type=Path), help="Folder of the records; without it the settings'."
        ),
        click.option("--settings", "file", type=click.Path(path_type=Path), help="The settings file to read."),
    ):
        function = option(function)
    return function


@command.command("list", epilog="Example: leukoscope records list --slide A12 --limit 20 --json")
@store_options
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a record and line.")
def list_records(
    file: Path | None, folder: Path | None, database: str | None, limit: int, as_json: bool, **asked: Any
) -> None:
    """List records, the newest first; a ? after the time says that the device's clock was not set."""
    where = _filter(asked)
    with _open(file, folder, database) as store:
        found = store.find(where, limit)
        for record in found:
            click.echo(json.dumps(record.as_json()) if as_json else _line(record))
        if not as_json:
            click.echo(f"{len(found)} of {store.count(where)} records", err=True)


@command.command(epilog="Example: leukoscope records export september.zip --since 2026-09-01 --until 2026-10-01")
@click.argument("out", type=click.Path(path_type=Path))
@store_options
@click.option("--overlay", is_flag=True, help="ZIP: also each image with the stain's outline and the cells' boxes.")
def export(
    out: Path, file: Path | None, folder: Path | None, database: str | None, overlay: bool, **asked: Any
) -> None:
    """Write records into the new file OUT: NAME.csv, or NAME.zip with images, CSV and the sha256 of each file."""
    from rich.console import Console
    from rich.progress import Progress

    from edge_app.store import export_csv, export_zip

    kind = out.suffix.lower()
    if kind not in (".csv", ".zip") or (overlay and kind == ".csv"):
        raise click.UsageError("name a file NAME.zip or NAME.csv; --overlay goes with NAME.zip")
    where = _filter(asked)
    progress = Progress(console=Console(stderr=True), transient=True)
    with _open(file, folder, database) as store, _new_file(out) as target, progress:
        task = progress.add_task("export", total=store.count(where))
        if kind == ".zip":
            count = export_zip(store, where, target, with_overlay=overlay, on_record=lambda: progress.advance(task))
        else:
            text = TextIOWrapper(target, "utf-8", newline="")
            count = export_csv(store, where, text, on_record=lambda: progress.advance(task))
            text.detach()
    click.echo(f"{count} records written to {out}", err=True)


def _open(file: Path | None, folder: Path | None, database: str | None) -> "Records":
    from edge_app.store import read_records

    settings = load_settings(file, os.environ, records__folder=folder, records__database=database).records
    url = settings.database.get_secret_value() if settings.database else None
    return read_records(settings.folder, database=url)


def _filter(asked: dict[str, Any]) -> "Filter":
    from edge_app.store import Filter

    dates = {name: asked[name] and asked[name].replace(tzinfo=UTC) for name in ("since", "until")}
    try:
        return Filter(**(asked | dates))
    except ValidationError as error:
        first = error.errors()[0]
        raise click.UsageError(f"--{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from None


def _line(record: "Record") -> str:
    said = record.label or f"indeterminate ({record.indeterminate})"
    date = record.captured_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    own = f"  own label: {record.own_label}" if record.own_label else ""
    slide = f"slide {record.slide}" if record.slide else "no slide"
    return printable(
        f"{record.id}  {date}{' ' if record.clock_sure else '?'} {record.device}  {slide}  {said}{own}", 500
    )


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Give a new file, which is there whole once the block has ended, and not at all after an error."""
    partial = path.with_name(f".{path.name}.part")
    try:
        if path.exists():
            raise StoreError(f"{path} exists already; name a new file")
        with partial.open("wb") as file:
            yield file
        partial.rename(path)
    except OSError as error:
        raise StoreError(f"{path} can't be written ({error.strerror}); name a file on a disk with room") from error
    finally:
        partial.unlink(missing_ok=True)
