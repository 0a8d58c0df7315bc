"""The command `leukoscope demo`."""

from pathlib import Path

import click

from edge_app.commands.options import classifier_options


@click.command(epilog="Example: leukoscope demo --json")
@classifier_options
@click.pass_context
def command(context: click.Context, bundle: Path | None, threads: int, as_json: bool) -> None:
    """Judge the shipped frames, which are drawn, not photographed: they show that the whole path works."""
    from edge_app.commands.run import command as run

    click.echo(
        "Drawn smear fields, judged on this device. For Research Use Only. Not for use in diagnostic procedures.",
        err=True,
    )
    context.invoke(run, source="demo:?loops=1", every_frame=True, bundle=bundle, threads=threads, as_json=as_json)
