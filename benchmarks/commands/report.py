"""The command `leukoscope bench report`."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import click

from edge_app.disk import replace_file
from edge_app.errors import InputError


class Quantity(click.ParamType[float]):
    """A number with a unit or without: 50ms, 0.3GB, 95%. units: what each unit is in the unit that is returned."""

    def __init__(self, name: str, units: dict[str, float]) -> None:
        self.name, self.units = name, units

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number in the unit whose factor is 1."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*([A-Za-z%]*)", value.strip())
        factor = {unit.lower(): factor for unit, factor in self.units.items()}.get(match[2].lower()) if match else None
        if match is None or factor is None:
            known = ", ".join(unit for unit in self.units if unit)
            self.fail(f"{value!r} is no {self.name}; write a number and one of {known}", param, ctx)
        return float(match[1]) * factor


class Share(Quantity):
    """A share of 1 or a percentage."""

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the share."""
        share = super().convert(value, param, ctx)
        if share > 1:
            self.fail(f"{value!r} is more than all; write 0.95 or 95%", param, ctx)
        return share


TIME = Quantity("time", {"": 1, "ms": 1, "s": 1000})
BYTES = Quantity(
    "amount of memory",
    {"": 1, "kB": 1e-3, "MB": 1, "GB": 1e3, "KiB": 2**10 / 1e6, "MiB": 2**20 / 1e6, "GiB": 2**30 / 1e6},
)
ENERGY = Quantity("energy", {"": 1, "mJ": 1e-3, "J": 1})
SHARE = Share("share", {"": 1, "%": 0.01})


@click.command(epilog="Example: leukoscope bench report pi5.json jetson.json accuracy.json --max-latency 50ms")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    default="report",
    show_default=True,
    help="Folder for the report.",
)
@click.option("--max-latency", type=TIME, help="From frame to verdict, p90, such as 50ms.")
@click.option("--max-memory", type=BYTES, help="Peak of the process, such as 300MB.")
@click.option("--max-size", type=BYTES, help="Of the bundle, such as 10MB.")
@click.option("--max-energy", type=ENERGY, help="For a frame, such as 0.5J.")
@click.option("--min-accuracy", type=SHARE, help="Such as 0.95 or 95%.")
@click.option("--min-recall", type=SHARE, help="Sensitivity.")
@click.option("--min-specificity", type=SHARE)
@click.option("--json", "as_json", is_flag=True, help="Print what is recommended as JSON.")
def command(files: tuple[Path, ...], output: Path, as_json: bool, **options: float | None) -> None:
    """Compare result files of any number of devices: report.html, report.md, latency.csv and accuracy.csv in a folder.

    FILES are what bench latency, accuracy and peers wrote. The limits say what a configuration must meet to be
    recommended; of those that do, the most accurate is, and of equally accurate ones the fastest.
    """
    from benchmarks.page import html, markdown
    from benchmarks.report import collect
    from benchmarks.report_choice import AXES, choose
    from benchmarks.report_sections import TITLE, sections
    from benchmarks.report_tables import accuracy_csv, latency_csv

    limits = {
        axis: value for axis in AXES if (value := options.get(f"max_{axis}", options.get(f"min_{axis}"))) is not None
    }
    collected = collect(files)
    parts, now = sections(collected, limits), datetime.now(UTC)
    texts = {"report.html": html(TITLE, parts, now), "report.md": markdown(TITLE, parts, now)}
    if collected.candidates:
        texts["latency.csv"] = latency_csv(collected.candidates)
    if collected.accuracies:
        texts["accuracy.csv"] = accuracy_csv(collected.accuracies)
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            replace_file(output / name, text.encode())
    except OSError as error:
        raise InputError(f"{output} can't be written ({error.strerror}); give --output a folder of yours") from None
    if as_json:
        choices = [
            {
                "frame": size,
                "accuracy_of": basis,
                "number": best.number,
                "device": best.device,
                "bundle": best.bundle.name,
                "bundle_sha256": best.bundle.sha256,
                "threads": best.run.threads,
            }
            if (best := choose(candidates, limits).best)
            else {"frame": size, "accuracy_of": basis, "number": None}
            for (size, basis), candidates in collected.comparisons().items()
        ]
        click.echo(json.dumps(choices, indent=1))
        return
    for part in parts:
        if part.advice:
            click.echo(f"{part.title}: {' '.join(part.advice)}")
    click.echo(f"The report: {output / 'report.html'}")
