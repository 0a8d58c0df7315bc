"""Reports as self-contained HTML pages of one look, and as Markdown: what they are made of, and how that is written."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib import resources
from string import Template

import cv2

from edge_app import __version__
from edge_app.manifest import INTENDED_USE
from edge_app.preprocessing import Image

JPEG_QUALITY = 90  # of pictures in a page


@dataclass(frozen=True)
class Column:
    """A column. numeric: aligned to the right."""

    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """Cells as a person reads them. invalid: the rows that are shown, but not to be compared."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    invalid: frozenset[int] = frozenset()

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = [
            [column.title for column in self.columns],
            ["---:" if column.numeric else "---" for column in self.columns],
            *(
                [
                    f"~~{cell}~~" if index in self.invalid and cell and column.numeric else cell
                    for cell, column in zip(row, self.columns, strict=True)
                ]
                for index, row in enumerate(self.rows)
            ),
        ]
        return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


@dataclass(frozen=True)
class Plot:
    """An SVG and the words below it."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Picture:
    """Images (uint8 [h, w, 3], BGR) that stand beside each other, and the words below them."""

    images: tuple[Image, ...]
    caption: str


@dataclass(frozen=True)
class Section:
    """A part of a report. advice: what is to be read first, sentence by sentence."""

    title: str
    advice: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()
    table: Table | None = None
    pictures: tuple[Picture, ...] = ()


def html(title: str, parts: Sequence[Section], made_at: datetime, notice: str = "") -> str:
    """Return the page: style, plots and pictures are in it, it loads nothing and runs no script.

    notice: who may see it, below the intended use.
    """
    folder = resources.files("benchmarks") / "templates"
    return Template((folder / "report.html").read_text("utf-8")).substitute(
        title=escape(title),
        intended_use=escape(INTENDED_USE),
        notice=f'<p class="notice">{escape(notice)}</p>' if notice else "",
        made=_made(made_at),
        style=(folder / "report.css").read_text("utf-8"),
        body="\n".join(_section(each) for each in parts),
    )


def markdown(title: str, parts: Sequence[Section], made_at: datetime) -> str:
    """Return the report without its plots and pictures."""
    blocks = [f"# {title}", INTENDED_USE, _made(made_at)]
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
    if part.pictures:
        pieces.append(f'<div class="pictures">{"".join(_picture(each) for each in part.pictures)}</div>')
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


def _picture(picture: Picture) -> str:
    images = "".join(f'<img alt="" src="data:image/jpeg;base64,{_jpeg(image)}">' for image in picture.images)
    return f"<figure><div>{images}</div><figcaption>{escape(picture.caption)}</figcaption></figure>"


def _jpeg(image: Image) -> str:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return base64.b64encode(data.tobytes()).decode()
