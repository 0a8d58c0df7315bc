"""A report as one self-contained HTML page, and as Markdown."""

from collections.abc import Sequence
from datetime import datetime
from html import escape
from importlib import resources
from string import Template

from benchmarks.report_sections import Section
from benchmarks.report_tables import Table
from edge_app import __version__
from edge_app.manifest import INTENDED_USE

TITLE = "Leukoscope benchmark report"


def html(parts: Sequence[Section], made_at: datetime) -> str:
    """Return the page: style and plots are in it, it loads nothing and runs no script."""
    folder = resources.files("benchmarks") / "templates"
    return Template((folder / "report.html").read_text("utf-8")).substitute(
        title=TITLE,
        intended_use=escape(INTENDED_USE),
        made=_made(made_at),
        style=(folder / "report.css").read_text("utf-8"),
        body="\n".join(_section(each) for each in parts),
    )


def markdown(parts: Sequence[Section], made_at: datetime) -> str:
    """Return the report without its plots."""
    blocks = [f"# {TITLE}", INTENDED_USE, _made(made_at)]
    for part in parts:
        blocks.append(f"## {part.title}")
        if part.advice:
            blocks.append(f"**{part.advice[0]}** {' '.join(part.advice[1:])}".rstrip())
        blocks += [*part.text, *(plot.caption for plot in part.plots if not part.table or "front" in plot.caption)]
        if part.table:
            blocks.append(part.table.markdown().rstrip())
    return "\n\n".join(blocks) + "\n"


def _made(made_at: datetime) -> str:
    return f"Made {made_at:%Y-%m-%d %H:%M} UTC by Leukoscope {__version__}."


def _section(part: Section) -> str:
    pieces = [f"<section><h2>{escape(part.title)}</h2>"]
    if part.advice:
        first, *rest = (escape(each) for each in part.advice)
        pieces.append(f'<div class="advice"><p><strong>{first}</strong></p><p>{" ".join(rest)}</p></div>')
    pieces += [f"<p>{escape(each)}</p>" for each in part.text]
    if part.plots:
        figures = (f"<figure>{each.svg}<figcaption>{escape(each.caption)}</figcaption></figure>" for each in part.plots)
        pieces.append(f'<div class="plots">{"".join(figures)}</div>')
    if part.table:
        pieces.append(_table(part.table))
    return "\n".join([*pieces, "</section>"])


def _table(table: Table) -> str:
    sides = [' class="number"' if column.numeric else "" for column in table.columns]
    head = "".join(f"<th{side}>{escape(c.title)}</th>" for side, c in zip(sides, table.columns, strict=True))
    invalid = ' class="invalid"'
    rows = "".join(
        f"<tr{invalid if index in table.invalid else ''}>"
        + "".join(f"<td{side}>{escape(cell)}</td>" for side, cell in zip(sides, row, strict=True))
        + "</tr>\n"
        for index, row in enumerate(table.rows)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>'
