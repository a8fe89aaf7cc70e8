"""Alembic's environment: `server.migrations` gives the connection, every package's tables the metadata."""

from alembic import context

import server.auth.tables
import server.kernel.tables  # noqa: F401  importing the tables fills the metadata
from server.kernel.rows import Row


def include(_thing: object, name: str | None, kind: str, *_: object) -> bool:
    """Leave the job queue's own tables alone."""
    return not (kind == "table" and (name or "").startswith("procrastinate_"))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    render_as_batch=True,
    transactional_ddl=True,
    compare_type=True,
    include_object=include,
)
context.run_migrations()
