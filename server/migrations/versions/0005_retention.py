"""Tombstones, legal holds, retention; the trace of a workitem; subscriptions to workitems."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _retention()
    _tracing()
    _subscriptions()


def _retention() -> None:
    op.create_table(
        "tombstone",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("uid", sa.String(), nullable=False),
        sa.Column("level", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("instances", sa.Integer(), nullable=False),
        sa.Column("deleted_by", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("deleted_us", sa.BigInteger(), nullable=False),
        sa.Column("released_us", sa.BigInteger(), nullable=True),
        sa.Column("released_by", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tombstone")),
    )
    op.create_index(op.f("ix_tombstone_uid"), "tombstone", ["uid"])
    op.create_index(
        op.f("ix_tombstone_study_instance_uid_released_us"),
        "tombstone",
        ["study_instance_uid", "released_us"],
    )
    op.create_table(
        "deleted_study",
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=True),
        sa.Column("identified_id", sa.String(), nullable=True),
        sa.Column("deleted_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("study_instance_uid", name=op.f("pk_deleted_study")),
    )
    op.create_index(op.f("ix_deleted_study_patient_id"), "deleted_study", ["patient_id"])
    op.create_table(
        "legal_hold",
        sa.Column("id", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=True),
        sa.Column("patient_id", sa.String(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("placed_by", sa.String(), nullable=False),
        sa.Column("placed_us", sa.BigInteger(), nullable=False),
        sa.Column("released_us", sa.BigInteger(), nullable=True),
        sa.Column("released_by", sa.String(), nullable=True),
        sa.Column("release_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legal_hold")),
    )
    op.create_index(op.f("ix_legal_hold_study_instance_uid"), "legal_hold", ["study_instance_uid"])
    op.create_index(op.f("ix_legal_hold_patient_id"), "legal_hold", ["patient_id"])
    op.create_index(op.f("ix_study_created_us"), "study", ["created_us"])
    op.add_column(
        "study", sa.Column("has_tombstones", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def _tracing() -> None:
    """Which trace asked for a workitem."""
    with op.batch_alter_table("workitem") as table:
        table.add_column(sa.Column("traceparent", sa.String(), nullable=True))


def _subscriptions() -> None:
    """Who is to be told of changes of workitems."""
    op.create_table(
        "workitem_subscription",
        sa.Column("pk", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("ae_title", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("is_subscribed", sa.Boolean(), nullable=False),
        sa.Column("deletion_lock", sa.Boolean(), nullable=False),
        sa.Column("filter", sa.Text(), nullable=False),
        sa.Column("until_pk", sa.BigInteger(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_workitem_subscription")),
        sa.UniqueConstraint(
            "principal", "ae_title", "target", name=op.f("uq_workitem_subscription_principal_ae_title_target")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_workitem_subscription_target"), "workitem_subscription", ["target"])
