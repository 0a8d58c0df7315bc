"""Version 1: stores, records, and messages for the broker."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "store",
        sa.Column("id", sa.Uuid(as_uuid=False), primary_key=True),
        sa.Column("last_order", sa.BigInteger, nullable=False),
        sa.Column("last_tick", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "record",
        sa.Column("id", sa.Uuid(as_uuid=False), primary_key=True),
        sa.Column("device", sa.String(64), nullable=False),
        sa.Column("store", sa.Uuid(as_uuid=False), sa.ForeignKey("store.id"), nullable=False),
        sa.Column("order", sa.BigInteger, nullable=False),
        sa.Column("captured_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("clock_sure", sa.Boolean, nullable=False),
        sa.Column("boot_id", sa.Text, nullable=False),
        sa.Column("monotonic_ns", sa.BigInteger, nullable=False),
        sa.Column("frame_id", sa.BigInteger, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("probabilities", sa.JSON, nullable=False),
        sa.Column("indeterminate", sa.Text),
        sa.Column("mask_fraction", sa.Float(53), nullable=False),
        sa.Column("focus", sa.Float(53), nullable=False),
        sa.Column("brightness", sa.Float(53), nullable=False),
        sa.Column("clipped", sa.Float(53), nullable=False),
        sa.Column("tint_a", sa.Float(53), nullable=False),
        sa.Column("tint_b", sa.Float(53), nullable=False),
        sa.Column("stain_hue", sa.Float(53)),
        sa.Column("stain_saturation", sa.Float(53)),
        sa.Column("cells", sa.Integer, nullable=False),
        sa.Column("times_ms", sa.JSON, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("threshold", sa.Float(53), nullable=False),
        sa.Column("bundle", sa.String(64), nullable=False),
        sa.Column("preprocessing", sa.String(64), nullable=False),
        sa.Column("executed", sa.Text, nullable=False),
        sa.Column("certified", sa.Boolean, nullable=False),
        sa.Column("settings", sa.JSON, nullable=False),
        sa.Column("leukoscope", sa.Text, nullable=False),
        sa.Column("slide", sa.Text, nullable=False),
        sa.Column("operator", sa.Text, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("um_per_pixel", sa.Float(53)),
        sa.Column("image_width", sa.Integer, nullable=False),
        sa.Column("image_height", sa.Integer, nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("image_bytes", sa.BigInteger, nullable=False),
        sa.Column("image_missing", sa.Boolean, nullable=False),
        sa.Column("captured_at_first", sa.DateTime(timezone=True)),
        sa.Column("own_label", sa.Text),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("annotated_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_at", sa.DateTime(timezone=True)),
        sa.Column("deleted_sure", sa.Boolean, nullable=False),
        sa.Column("purging", sa.Boolean, nullable=False),
        sa.Column("boxes", sa.JSON, nullable=False),
        sa.Column("outline", sa.JSON, nullable=False),
        sa.UniqueConstraint("store", "order", name="record_store_order"),
    )
    op.create_index("record_captured_at", "record", ["captured_at"])
    op.create_index("record_shown", "record", ["purging", "deleted_at", "id"])
    op.create_index("record_boot", "record", ["store", "boot_id", "clock_sure"])
    op.create_table(
        "message",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("store", sa.Uuid(as_uuid=False), sa.ForeignKey("store.id"), nullable=False),
        sa.Column(
            "record",
            sa.Uuid(as_uuid=False),
            sa.ForeignKey("record.id", ondelete="CASCADE"),
            nullable=False,
            unique=True,
        ),
        sa.UniqueConstraint("record"),
        sqlite_autoincrement=True,
    )
    op.create_index("message_store", "message", ["store", "id"])
