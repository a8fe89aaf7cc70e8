"""What studies and series show otherwise than they were sent: corrections, and the Patient of a merge."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for table in ("study", "series"):
        op.add_column(table, sa.Column("overlaid_us", sa.BigInteger(), nullable=True))
    op.create_table(
        "study_overlay",
        sa.Column("study_id", BIG_KEY, nullable=False),
        sa.Column("merged", sa.Text(), nullable=False),
        sa.Column("merged_us", sa.BigInteger(), nullable=True),
        sa.Column("corrected", sa.Text(), nullable=False),
        sa.Column("corrected_us", sa.BigInteger(), nullable=True),
        sa.Column("corrected_by", sa.String(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("sent", sa.Text(), nullable=False),
        sa.Column("sent_system", sa.String(), nullable=True),
        sa.Column("sent_value", sa.String(), nullable=True),
        sa.Column("has_both", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["study.id"], name=op.f("fk_study_overlay_study_id_study"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_study_overlay")),
    )
    op.create_table(
        "series_overlay",
        sa.Column("series_id", BIG_KEY, nullable=False),
        sa.Column("corrected", sa.Text(), nullable=False),
        sa.Column("corrected_us", sa.BigInteger(), nullable=False),
        sa.Column("corrected_by", sa.String(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("sent", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_id"], ["series.id"], name=op.f("fk_series_overlay_series_id_series"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("series_id", name=op.f("pk_series_overlay")),
    )
    op.create_table(
        "surviving_patient",
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.Column("merged_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("patient_id", name=op.f("pk_surviving_patient")),
    )
