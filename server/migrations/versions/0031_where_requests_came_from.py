"""Where requests came from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text  # noqa: F401  a JSON variant renders a bare Text()

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("audit_entry", schema=None) as batch_op:
        batch_op.add_column(sa.Column("address", sa.String(), nullable=True))
