"""History of a type and of the whole record by time."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("fhir_resource", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fhir_resource_last_updated_us_rid"), ["last_updated_us", "rid"], unique=False
        )

    with op.batch_alter_table("fhir_resource_history", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_fhir_resource_history_last_updated_us_rid"),
            ["last_updated_us", "rid"],
            unique=False,
        )
