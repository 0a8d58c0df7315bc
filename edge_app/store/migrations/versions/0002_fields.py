"""Version 2: records keep the fields of a frame, what each was called, and the scale they were cut by."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; frames that were kept before were one field, of which nothing more is known."""
    op.add_column("record", sa.Column("fields", sa.JSON, nullable=False, server_default="[]"))
    op.add_column("record", sa.Column("positive_share", sa.Float(53)))
    op.add_column("record", sa.Column("worst_field", sa.Integer))
    op.add_column("record", sa.Column("scale", sa.JSON))
