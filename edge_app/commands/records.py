"""The commands `leukoscope records list` and `leukoscope records export`."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
from pydantic import ValidationError

from edge_app.bundle_files import printable
from edge_app.errors import StoreError

if TYPE_CHECKING:
    from edge_app.store import Filter, Record

F = TypeVar("F", bound=Callable[..., Any])
DATE = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.group(epilog="Example: leukoscope records list --label Cancer --since 2026-11-01")
def command() -> None:
    """List the verdicts that were kept, or export them with their images; also while the app runs."""


def store_options(function: F) -> F:
    """Add the options that say which records are meant."""
    for option in (
        click.option("--folder", type=click.Path(path_type=Path), help="Folder of the records; see the settings."),
        click.option("--database", help="postgresql+psycopg://… where records are kept in PostgreSQL."),
        click.option("--label", help="The model's label, such as Cancer."),
        click.option(
            "--indeterminate/--judged", default=None, help="Only records without, or with, a label of the model."
        ),
        click.option("--own-label", help="A person's own label."),
        click.option("--slide", help="The slide."),
        click.option("--operator", help="The operator."),
        click.option("--device", help="The device that made the record."),
        click.option("--text", default="", help="A text in slide, operator, note, own label or comment."),
        click.option("--since", type=DATE, help="Captured at this time, UTC, or later."),
        click.option("--until", type=DATE, help="Captured before this time, UTC."),
        click.option("--deleted", is_flag=True, help="The deleted records that can still be restored."),
    ):
        function = option(function)
    return function
