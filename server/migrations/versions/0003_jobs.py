"""Background jobs: our table, and on PostgreSQL those of Procrastinate 3.10, as that library makes them."""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PROCRASTINATE = Path(__file__).parent / "0003_procrastinate.sql"
IS_WAITING = sa.text("state = 'waiting'")


def upgrade() -> None:
    op.create_table(
        "job",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("args", sa.Text(), nullable=False),
        sa.Column("queue", sa.String(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("dedupe_key", sa.String(), nullable=True),
        sa.Column("exclusive", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("runner", sa.String(), nullable=True),
        sa.Column("alive_until_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "uq_job_dedupe_key",
        "job",
        ["dedupe_key"],
        unique=True,
        sqlite_where=IS_WAITING,
        postgresql_where=IS_WAITING,
    )
    op.create_index(op.f("ix_job_state_queue_due_us"), "job", ["state", "queue", "due_us"])
    op.create_table(
        "periodic_job",
        sa.Column("task", sa.String(), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_periodic_job")),
    )
    if op.get_bind().dialect.name == "postgresql":
        _create_procrastinate()


def _create_procrastinate() -> None:
    """Many statements at once, which the driver takes only on its raw connection; in this transaction."""
    raw: Any = op.get_bind().connection.dbapi_connection
    raw.run_async(lambda connection: connection.execute(PROCRASTINATE.read_text()))
