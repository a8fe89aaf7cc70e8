"""On SQLite the words that concepts have can be looked at one after the other."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE terminology_words_known USING fts5vocab('terminology_words', 'instance')"
        )
