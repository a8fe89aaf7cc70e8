"""${message}."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text  # noqa: F401  a JSON variant renders a bare Text()
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    ${upgrades if upgrades else "pass"}
