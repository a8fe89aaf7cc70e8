"""Apps manage their registration."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text  # noqa: F401  a JSON variant renders a bare Text()

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("oauth_client", schema=None) as batch_op:
        batch_op.add_column(sa.Column("registration_hash", sa.String(), nullable=True))
