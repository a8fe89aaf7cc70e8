"""Emergency access: grants that end by themselves, and what its review needs."""

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
    with op.batch_alter_table("emergency_access", schema=None) as batch_op:
        batch_op.add_column(sa.Column("client_id", sa.String(), nullable=False, server_default=""))
        batch_op.add_column(sa.Column("token", sa.String(), nullable=True))
        batch_op.add_column(sa.Column("note", sa.Text(), nullable=True))
        batch_op.create_index(batch_op.f("ix_emergency_access_grant_id"), ["grant_id"], unique=True)
