"""Ids of what logins and grants leave behind are not given again, on SQLite."""

from alembic import op
from sqlalchemy import Text, text  # noqa: F401  a JSON variant renders a bare Text()

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

# All that still names a grant, the grants themselves among it.
_HIGHEST = text("""
    INSERT INTO sqlite_sequence (name, seq)
    SELECT 'oauth_grant', coalesce(max(id), 0) FROM (
        SELECT max(id) AS id FROM oauth_grant UNION ALL SELECT max(grant_id) FROM emergency_access
    )
""")


def upgrade() -> None:
    """PostgreSQL's sequences never step back."""
    if op.get_bind().dialect.name != "sqlite":
        return
    for table in ("oauth_grant", "login_session", "authorization_request", "launch"):
        kwargs = {"sqlite_autoincrement": True}
        with op.batch_alter_table(table, recreate="always", table_kwargs=kwargs):
            pass
    op.execute("DELETE FROM sqlite_sequence WHERE name = 'oauth_grant'")
    op.execute(_HIGHEST)
