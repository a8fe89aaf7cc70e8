"""Contents of Binaries."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

BIG_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "fhir_binary_upload",
        sa.Column("number", BIG_KEY, autoincrement=True, nullable=False),
        sa.Column("begun_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_fhir_binary_upload")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_fhir_binary_upload_begun_us"), "fhir_binary_upload", ["begun_us"])
    op.create_table(
        "fhir_binary_content",
        sa.Column("rid", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("content", sa.BigInteger(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("has_data", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "version_id", name=op.f("pk_fhir_binary_content")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "fhir_binary_chunk",
        sa.Column("content", BIG_KEY, autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("content", "number", name=op.f("pk_fhir_binary_chunk")),
    )
