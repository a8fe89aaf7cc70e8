"""Workitems that come from outside: who asked, what was sent, and the values they are found by."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("workitem", sa.Column("requested_by", sa.String(), nullable=True))
    op.add_column("workitem", sa.Column("attributes", sa.Text(), nullable=True))
    op.create_table(
        "workitem_key",
        sa.Column("pk", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("workitem_pk", BIG_KEY, nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("item", sa.Integer(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["workitem_pk"], ["workitem.pk"], name=op.f("fk_workitem_key_workitem_pk_workitem")
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_workitem_key")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_workitem_key_workitem_pk"), "workitem_key", ["workitem_pk"])
    op.create_index(
        op.f("ix_workitem_key_path_value"),
        "workitem_key",
        ["path", "value"],
        postgresql_ops={"value": "text_pattern_ops"},
    )
