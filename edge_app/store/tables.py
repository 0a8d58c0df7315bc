"""The tables as this version has them; `migrations/` makes them, and a test holds the two together."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
)


class Utc(TypeDecorator[datetime]):
    """A moment; SQLite has no time zones, so there it is kept as UTC without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment in UTC."""
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment in UTC, aware."""
        if value is None:
            return None
        moment: datetime = value
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


metadata = MetaData()

# A folder of images. last_order and last_tick are those of its last record, deleted ones counted.
stores = Table(
    "store",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("last_order", BigInteger, nullable=False),
    Column("last_tick", BigInteger, nullable=False),
)

# The columns are the fields of `Record`, and below them what only the store needs:
# purging: about to be removed for good, seen by nobody; deleted_sure: whether the clock was set at `deleted_at`.
records = Table(
    "record",
    metadata,
    Column("id", Uuid(as_uuid=False), primary_key=True),
    Column("device", String(64), nullable=False),
    Column("store", Uuid(as_uuid=False), ForeignKey("store.id"), nullable=False),
    Column("order", BigInteger, nullable=False),
    Column("captured_at", Utc, nullable=False),
    Column("clock_sure", Boolean, nullable=False),
    Column("boot_id", Text, nullable=False),
    Column("monotonic_ns", BigInteger, nullable=False),
    Column("frame_id", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("label", Text),
    Column("probabilities", JSON, nullable=False),
    Column("indeterminate", Text),
    Column("mask_fraction", Float(53), nullable=False),
    Column("focus", Float(53), nullable=False),
    Column("brightness", Float(53), nullable=False),
    Column("clipped", Float(53), nullable=False),
    Column("tint_a", Float(53), nullable=False),
    Column("tint_b", Float(53), nullable=False),
    Column("stain_hue", Float(53)),
    Column("stain_saturation", Float(53)),
    Column("cells", Integer, nullable=False),
    Column("times_ms", JSON, nullable=False),
    Column("model", Text, nullable=False),
    Column("threshold", Float(53), nullable=False),
    Column("bundle", String(64), nullable=False),
    Column("preprocessing", String(64), nullable=False),
    Column("executed", Text, nullable=False),
    Column("certified", Boolean, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("leukoscope", Text, nullable=False),
    Column("slide", Text, nullable=False),
    Column("operator", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("trigger", String(16), nullable=False),
    Column("um_per_pixel", Float(53)),
    Column("image_width", Integer, nullable=False),
    Column("image_height", Integer, nullable=False),
    Column("image_sha256", String(64), nullable=False),
    Column("image_bytes", BigInteger, nullable=False),
    Column("image_missing", Boolean, nullable=False),
    Column("captured_at_first", Utc),
    Column("own_label", Text),
    Column("comment", Text, nullable=False),
    Column("annotated_at", Utc),
    Column("deleted_at", Utc),
    Column("deleted_sure", Boolean, nullable=False),
    Column("purging", Boolean, nullable=False),
    # the long ones come last: SQLite reads a row up to the last column that is asked for
    Column("boxes", JSON, nullable=False),
    Column("outline", JSON, nullable=False),
    Column("fields", JSON, nullable=False, server_default="[]"),  # of version 2, as those below
    Column("positive_share", Float(53)),
    Column("worst_field", Integer),
    Column("scale", JSON),
    Column("noise", Float(53)),
    UniqueConstraint("store", "order", name="record_store_order"),
    Index("record_captured_at", "captured_at"),
    Index("record_shown", "purging", "deleted_at", "id"),  # to count and to page by
    Index("record_boot", "store", "boot_id", "clock_sure"),
)

# What the broker has not heard yet: at most one message a record, so that there are never more than records.
messages = Table(
    "message",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("store", Uuid(as_uuid=False), ForeignKey("store.id"), nullable=False),
    Column("record", Uuid(as_uuid=False), ForeignKey("record.id", ondelete="CASCADE"), nullable=False, unique=True),
    Index("message_store", "store", "id"),
    sqlite_autoincrement=True,  # an id that was sent is never given again
)
