"""What is kept of a verdict, what is asked with it, and by what records are found."""

import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from edge_app.frozen import Frozen

Trigger = Literal["button", "auto"]
Value = int | float | str
Box = tuple[int, int, int, int]
Point = tuple[int, int]

DIRECTIONS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # they reorder the text around them


def _one_line(text: str) -> str:
    if any(_steers(character) for character in text):
        raise ValueError("write it on one line, without control characters")
    return text


def _lines(text: str) -> str:
    text = text.replace("\r\n", "\n")
    if any(_steers(character) and character not in "\n\t" for character in text):
        raise ValueError("write it without control characters")
    return text


def _steers(character: str) -> bool:
    """Return whether a character steers the terminal or the page instead of being shown."""
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in DIRECTIONS
    )


Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), AfterValidator(_one_line)]
Lines = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4000), AfterValidator(_lines)]
Moment = Annotated[AwareDatetime, Field(ge=datetime(1900, 1, 1, tzinfo=UTC), le=datetime(9000, 1, 1, tzinfo=UTC))]
DEVICE = r"[A-Za-z0-9._-]{1,64}"
Device = Annotated[str, StringConstraints(pattern=f"^{DEVICE}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Session(Frozen):
    """What a person says of the work at hand; no patient's name is asked for, and none belongs here."""

    slide: Line = ""
    operator: Line = ""
    note: Lines = ""


class FieldKept(Frozen):
    """What was said of one field: its box in pixels of the image, and as in `Kept`."""

    box: Box
    label: str | None
    probabilities: dict[str, float]
    indeterminate: str | None


class ScaleKept(Frozen):
    """The scale that a frame was cut by: the red cells' diameter in pixels of the image, and what a pixel shows."""

    red_cell_px: float
    um_per_pixel: float


class Kept(Frozen):
    """A verdict as it was kept, and what it rests on; this much is also written into the image file.

    id: a UUID of version 7; ids of one device sort in the order of keeping, whatever its clock does.
    device: the name of the device that made the record. store: which folder holds its image, a UUID.
    order: counts the records of that folder from 1, and never goes back.
    captured_at: when the frame was taken. clock_sure: whether the clock was set then. While it was not, boot_id and
        monotonic_ns (nanoseconds since that boot) tell the time once the clock is set.
    probabilities: by class name. threshold: the decision threshold in force.
    mask_fraction … stain_saturation: as in `edge_app.quality.Quality`. cells: how many. boxes: theirs, (left, top,
        width, height) in pixels of the image. outline: of the stain, polygons of points (x, y).
    times_ms: milliseconds by stage. bundle, preprocessing: sha256. executed: what the runtime says it ran.
    settings: the camera's. leukoscope: the version that judged.
    noise: null in records of versions before 3.
    fields, positive_share, worst_field, scale: as in a verdict; empty and null in records of versions before 2.
    um_per_pixel: as it was given in the settings.
    """

    id: str
    device: Device
    store: str
    order: Annotated[int, Field(ge=1)]
    captured_at: AwareDatetime
    clock_sure: bool
    boot_id: str
    monotonic_ns: int
    frame_id: int
    source: str
    label: str | None
    probabilities: dict[str, float]
    indeterminate: str | None
    mask_fraction: float
    focus: float
    noise: float | None = None
    brightness: float
    clipped: float
    tint_a: float
    tint_b: float
    stain_hue: float | None
    stain_saturation: float | None
    cells: int
    boxes: tuple[Box, ...]
    outline: tuple[tuple[Point, ...], ...]
    times_ms: dict[str, float]
    model: str
    threshold: float
    bundle: Sha256
    preprocessing: Sha256
    executed: str
    certified: bool
    settings: dict[str, Value]
    leukoscope: str
    slide: Line
    operator: Line
    note: Lines
    trigger: Trigger
    um_per_pixel: Annotated[float, Field(gt=0)] | None
    image_width: int
    image_height: int
    fields: tuple[FieldKept, ...] = ()
    positive_share: float | None = None
    worst_field: int | None = None
    scale: ScaleKept | None = None


class Record(Kept):
    """A record as it stands in the database: what was kept, its image file, and what came later.

    image_sha256, image_bytes: of the file. image_missing: the file was not there when the store was opened.
    captured_at_first: what the clock said, where captured_at was corrected once the clock was set.
    own_label, comment: a person's, beside the model's label; annotated_at: when they were last changed.
    deleted_at: when a person deleted the record; it can be restored until it is purged.
    """

    image_sha256: Sha256
    image_bytes: int
    image_missing: bool = False
    captured_at_first: AwareDatetime | None = None
    own_label: Line | None = None
    comment: Lines = ""
    annotated_at: AwareDatetime | None = None
    deleted_at: AwareDatetime | None = None

    @property
    def image(self) -> str:
        """Return the image's file name."""
        return image_name(self.id)

    @property
    def answers(self) -> tuple[tuple[Box, str], ...]:
        """Return each field's box and what it was called; none where the frame was one field."""
        if len(self.fields) < 2:
            return ()
        return tuple(
            (field.box, f"{field.label} {field.probabilities[field.label]:.0%}" if field.label else "indeterminate")
            for field in self.fields
        )

    def as_json(self) -> dict[str, Any]:
        """Return the record as a JSON object, with the image's file name."""
        return self.model_dump(mode="json") | {"image": self.image}


class Filter(Frozen):
    """Which records are wanted; what is None or "" is not asked for.

    indeterminate: True for records without a label of the model, False for those with one.
    text: is in the slide, operator, note, own label or comment, in capitals or not.
    since, until: captured_at from `since` on and before `until`.
    deleted: True for the deleted ones, False for all others.
    """

    label: Line | None = None
    indeterminate: bool | None = None
    own_label: Line | None = None
    slide: Line | None = None
    operator: Line | None = None
    device: Line | None = None
    text: Line = ""
    since: Moment | None = None
    until: Moment | None = None
    deleted: bool = False


class Retention(Frozen):
    """How long records stay; a person's own label or comment keeps a record for good, until a person deletes it.

    max_age_days: older records go. max_bytes: the oldest go until the images together are no larger.
    deleted_days: how long a deleted record can be restored.
    """

    max_age_days: Annotated[float, Field(gt=0, le=36500)] | None = None
    max_bytes: Annotated[int, Field(ge=0)] | None = None
    deleted_days: Annotated[float, Field(ge=0, le=36500)] = 30


class Message(Frozen):
    """A record that has to be told to the broker: id is the message's own, payload the record as JSON."""

    id: int
    topic: str
    payload: str


class Removed(Frozen):
    """What retention removed: how many records, and the bytes of their images."""

    records: int = 0
    bytes: int = 0


def image_name(record_id: str) -> str:
    """Return the name of a record's image file."""
    return f"{record_id}.png"
