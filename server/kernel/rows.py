"""The base of every table: one metadata with a naming convention, so that migrations can name constraints."""

from typing import cast

from sqlalchemy import MetaData, Table
from sqlmodel import SQLModel

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Row(SQLModel):
    """A database row; subclasses say `table=True` and set `__tablename__`.

    Instants are BIGINT columns in UTC epoch microseconds, named `…_us`.
    """

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


def table_of(row: type[Row]) -> Table:
    """The Core table of a row class: `study = table_of(Study)`, then `study.c.patient_id` in statements."""
    return cast("Table", row.__table__)  # type: ignore[attr-defined]  # SQLModel declares no __table__
