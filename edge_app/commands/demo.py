"""The command `leukoscope demo`."""

from pathlib import Path

import click

from edge_app.cameras import open_camera
from edge_app.commands.options import classifier_options, load_classifier, show
from edge_app.scale import Ruler


@click.command(epilog="Example: leukoscope demo --json")
@classifier_options
def command(bundle: Path | None, threads: int, as_json: bool) -> None:
    """Judge the shipped frames, which are drawn, not photographed: they show that the whole path works."""
    click.echo(
        "Drawn smear fields, judged on this device. For Research Use Only. Not for use in diagnostic procedures.",
        err=True,
    )
    classifier = load_classifier(bundle, threads)
    ruler = Ruler()
    with open_camera("demo:?loops=1", every_frame=True) as camera:
        for frame in camera:
            click.echo(show(classifier.judge(frame, ruler), as_json))
    click.echo("Now with the page: leukoscope run --source demo:", err=True)
