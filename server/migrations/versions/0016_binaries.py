"""Contents of Binaries."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "fhir_binary_chunk",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "version_id", "number", name=op.f("pk_fhir_binary_chunk")),
    )
    op.create_table(
        "fhir_binary_content",
        sa.Column(
            "rid", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("has_data", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("rid", "version_id", name=op.f("pk_fhir_binary_content")),
        sqlite_with_rowid=False,
    )
