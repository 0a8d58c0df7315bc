"""The records: capture, find, annotate, delete and restore, look at, download."""

import codecs
from collections.abc import Callable
from typing import Annotated, BinaryIO, TextIO, cast

import cv2
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from edge_app.errors import StoreError
from edge_app.frozen import Frozen
from edge_app.images import decode_image
from edge_app.overlay import draw
from edge_app.store import Filter, Record, export_csv, export_zip
from edge_app.store.record import Line, Lines
from edge_app.web.parts import Parts, Shared
from edge_app.web.streams import Stream, written_by

THUMBNAIL_SIDE = 320  # pixels
THUMBNAIL_QUALITY = 85
IMAGE_QUALITY = 92
FOREVER = {"Cache-Control": "private, max-age=31536000, immutable"}  # a kept image never changes
ID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

RecordId = Annotated[str, Path(pattern=ID)]
Wanted = Annotated[Filter, Query()]

routes = APIRouter(prefix="/api", tags=["records"])


class Page(Frozen):
    """Some records, the newest first. next: `before` of the page after this one, null on the last; count: of all."""

    records: list[Record]
    next: str | None
    count: int


class PageQuery(Filter):
    """Which records, and which page of them."""

    limit: int = Field(default=50, ge=1, le=200)
    before: str | None = Field(default=None, pattern=ID)


class Annotation(Frozen):
    """A person's own label and comment; what is left out stays as it was."""

    own_label: Line | None = None
    comment: Lines = ""


@routes.post("/records", status_code=201)
def capture(parts: Shared) -> Record:
    """Keep the newest verdict and its frame; answered once they are safe on disk."""
    return parts.station.capture()


@routes.get("/records")
def find_records(parts: Shared, wanted: Annotated[PageQuery, Query()]) -> Page:
    """Find records, the newest first."""
    where = _filter(wanted)
    found = parts.store.find(where, wanted.limit + 1, wanted.before)
    page = found[: wanted.limit]
    return Page(records=page, next=page[-1].id if len(found) > len(page) else None, count=parts.store.count(where))


@routes.get("/records.csv", response_class=Response, responses={200: {"content": {"text/csv": {}}}})
async def download_csv(parts: Shared, wanted: Wanted) -> Stream:
    """Download records as a table."""
    store = parts.store

    def write(file: BinaryIO) -> None:
        # unlike a TextIOWrapper it keeps nothing back, which it could not get rid of when the viewer has gone
        export_csv(store, wanted, cast(TextIO, codecs.getwriter("utf-8")(file)))

    return _download(parts, write, "text/csv; charset=utf-8", "leukoscope-records.csv")


@routes.get("/records.zip", response_class=Response, responses={200: {"content": {"application/zip": {}}}})
async def download_zip(parts: Shared, wanted: Wanted) -> Stream:
    """Download records with their images, a table, and a manifest with the sha256 of each file."""
    store = parts.store

    def write(file: BinaryIO) -> None:
        export_zip(store, wanted, file)

    return _download(parts, write, "application/zip", "leukoscope-records.zip")


def _found(parts: Shared, record_id: RecordId) -> Record:
    return parts.store.get(record_id)


Found = Annotated[Record, Depends(_found)]


@routes.get("/records/{record_id}")
def get_record(record: Found) -> Record:
    """Return one record."""
    return record


@routes.patch("/records/{record_id}")
def annotate_record(parts: Shared, record: Found, said: Annotation) -> Record:
    """Set a person's own label and comment, beside the model's label."""
    given = said.model_dump(exclude_unset=True)
    return parts.store.annotate(
        record.id, given.get("own_label", record.own_label), given.get("comment", record.comment)
    )


@routes.delete("/records/{record_id}")
def delete_record(parts: Shared, record: Found) -> Record:
    """Delete a record; it can be restored for some days."""
    return parts.store.delete(record.id)


@routes.post("/records/{record_id}/restore")
def restore_record(parts: Shared, record: Found) -> Record:
    """Undo the deletion of a record."""
    return parts.store.restore(record.id)


@routes.get(
    "/records/{record_id}/image",
    response_class=Response,
    responses={200: {"content": {"image/png": {}, "image/jpeg": {}}}},
)
def get_image(parts: Shared, record: Found, overlay: bool = False) -> Response:
    """Return a record's image as it was judged; with overlay, the stain's outline, cells and fields on it."""
    data = _image(parts, record)
    if overlay:
        drawn = draw(decode_image(data, record.image), record.outline, record.boxes, record.answers)
        return Response(_jpeg(drawn, IMAGE_QUALITY), media_type="image/jpeg", headers=FOREVER)
    return Response(data, media_type="image/png", headers=FOREVER)


@routes.get("/records/{record_id}/thumbnail", response_class=Response, responses={200: {"content": {"image/jpeg": {}}}})
def get_thumbnail(parts: Shared, record: Found) -> Response:
    """Return a record's image, small."""
    image = decode_image(_image(parts, record), record.image)
    scale = THUMBNAIL_SIDE / max(image.shape)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return Response(_jpeg(small, THUMBNAIL_QUALITY), media_type="image/jpeg", headers=FOREVER)


def _jpeg(image: cv2.typing.MatLike, quality: int) -> bytes:
    return cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))[1].tobytes()


def _image(parts: Parts, record: Record) -> bytes:
    try:
        return parts.store.image_path(record.id).read_bytes()
    except OSError as error:
        raise StoreError(f"{record.image} can't be read ({error.strerror}); check the disk and permissions") from error


def _filter(wanted: PageQuery) -> Filter:
    return Filter.model_validate(wanted.model_dump(exclude={"limit", "before"}))


def _download(parts: Parts, write: Callable[[BinaryIO], None], media_type: str, name: str) -> Stream:
    parts.streams.check_room()
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Stream(written_by(write), media_type, parts.streams, headers)
