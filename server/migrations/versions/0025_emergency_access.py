"""Emergency access: grants that end by themselves, and what its review needs.

The table was made before anything wrote to it, so it is made anew.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text  # noqa: F401  a JSON variant renders a bare Text()

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("oauth_grant", schema=None) as batch_op:
        batch_op.add_column(sa.Column("expires_us", sa.BigInteger(), nullable=True))
    op.drop_table("emergency_access")
    op.create_table(
        "emergency_access",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("grant_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("patient_id", sa.String(), nullable=False),
        sa.Column("client_id", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("begun_us", sa.BigInteger(), nullable=False),
        sa.Column("reviewed_us", sa.BigInteger(), nullable=True),
        sa.Column("reviewer", sa.String(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_emergency_access")),
    )
    with op.batch_alter_table("emergency_access", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_emergency_access_grant_id"), ["grant_id"], unique=True)
        batch_op.create_index(batch_op.f("ix_emergency_access_patient_id"), ["patient_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_emergency_access_reviewed_us_begun_us"), ["reviewed_us", "begun_us"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_emergency_access_user_id"), ["user_id"], unique=False)
