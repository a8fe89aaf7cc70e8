"""Alembic's environment: `server.migrations` gives the connection, every package's tables the metadata."""

from typing import Any, Literal

from alembic import context
from sqlmodel import AutoString

import ai_engine.tables
import dicomweb.tables
import dicomweb.worklist.tables
import fhir.tables
import server.audit.tables
import server.auth.tables
import server.kernel.tables
import server.workflows.documents.tables
import terminology.tables
from server.kernel.rows import Row

TABLES = (  # importing them fills the metadata
    ai_engine.tables,
    dicomweb.tables,
    dicomweb.worklist.tables,
    fhir.tables,
    server.audit.tables,
    server.auth.tables,
    server.kernel.tables,
    server.workflows.documents.tables,
    terminology.tables,
)


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
