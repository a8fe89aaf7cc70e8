"""The outbox in commit order; audit by months on PostgreSQL; which programs the schema is for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _order_outbox()
    _partition_audit()
    op.create_table(
        "schema_floor",
        sa.Column("revision", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("revision", name=op.f("pk_schema_floor")),
    )


def _order_outbox() -> None:
    with op.batch_alter_table("outbox_event") as batch:
        batch.add_column(sa.Column("xact", sa.BigInteger(), nullable=False, server_default="0"))
        batch.drop_index(op.f("ix_outbox_event_kind_sequence"))
        batch.create_index(op.f("ix_outbox_event_kind_xact_sequence"), ["kind", "xact", "sequence"])
    with op.batch_alter_table("outbox_cursor") as batch:
        batch.add_column(sa.Column("xact", sa.BigInteger(), nullable=False, server_default="0"))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE outbox_event ALTER xact SET DEFAULT pg_current_xact_id()::text::bigint")


def _partition_audit() -> None:
    """The rows so far become the default partition; months are added by `server/kernel/audit_months.py`."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("ALTER TABLE audit_entry RENAME TO audit_entry_default")
    for index in ("ix_audit_entry_recorded_us", "ix_audit_entry_patient_id_recorded_us"):
        op.execute(f"ALTER INDEX {index} RENAME TO {index.replace('entry', 'entry_default', 1)}")
    op.execute("ALTER TABLE audit_entry_default DROP CONSTRAINT pk_audit_entry")
    like = "LIKE audit_entry_default INCLUDING DEFAULTS"
    op.execute(f"CREATE TABLE audit_entry ({like}) PARTITION BY RANGE (recorded_us)")
    op.execute("ALTER SEQUENCE audit_entry_sequence_seq OWNED BY audit_entry.sequence")
    op.execute("ALTER TABLE audit_entry ADD CONSTRAINT pk_audit_entry PRIMARY KEY (recorded_us, sequence)")
    op.create_index(op.f("ix_audit_entry_recorded_us"), "audit_entry", ["recorded_us"])
    op.create_index(
        op.f("ix_audit_entry_patient_id_recorded_us"), "audit_entry", ["patient_id", "recorded_us"]
    )
    op.execute("ALTER TABLE audit_entry ATTACH PARTITION audit_entry_default DEFAULT")
