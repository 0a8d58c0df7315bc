"""Version 3: records keep how noisy a frame was."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; of frames that were kept before, it is not known."""
    op.add_column("record", sa.Column("noise", sa.Float(53)))
