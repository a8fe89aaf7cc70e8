"""Alembic's environment, in which a new revision is written: every package's tables are the metadata."""

from typing import Any, Literal

from alembic import context
from sqlmodel import AutoString

import server.migrations.tables  # noqa: F401  fills the metadata
from server.kernel.rows import Row

# The job queue's, partitions, FTS5's.
FOREIGN = ("procrastinate_", "audit_entry_", "fhir_search_words", "terminology_words")


def include(_thing: object, name: str | None, kind: str, *_: object) -> bool:
    """Leave alone what no table of ours declares."""
    return not (kind == "table" and (name or "").startswith(FOREIGN))


def render(kind: str, thing: Any, _context: object) -> str | Literal[False]:
    """Write SQLModel's string type as the plain one that it is."""
    return "sa.String()" if kind == "type" and isinstance(thing, AutoString) and not thing.length else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    render_as_batch=True,
    transactional_ddl=True,
    compare_type=True,
    include_object=include,
    render_item=render,
)
context.run_migrations()
