"""Tombstones, legal holds, retention; the trace of a workitem."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _tracing()


def _tracing() -> None:
    """Which trace asked for a workitem."""
    with op.batch_alter_table("workitem") as table:
        table.add_column(sa.Column("traceparent", sa.String(), nullable=True))
