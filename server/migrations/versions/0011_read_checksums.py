"""A checksum that every read can afford; instances received before it are proven by their SHA-256."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("instance", sa.Column("file_xxh3", sa.LargeBinary(), nullable=True))
