"""Which DiagnosticReport each SR document is a version of."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "report_document",
        sa.Column("sop_instance_uid", sa.String(), nullable=False),
        sa.Column("study_instance_uid", sa.String(), nullable=False),
        sa.Column("data_set_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("report_id", sa.String(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("predecessors", sa.Text(), nullable=False),
        sa.Column("looked_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sop_instance_uid", name=op.f("pk_report_document")),
    )
    for column in ("report_id", "study_instance_uid"):
        op.create_index(op.f(f"ix_report_document_{column}"), "report_document", [column])
