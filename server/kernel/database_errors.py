"""What the drivers raise, as the kernel's faults: busy, full, or to be run again.

PostgreSQL errors are told apart by SQLSTATE (PostgreSQL, Appendix A), SQLite's by their text. What is none of
these is a defect of ours and passes as it is.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from server.kernel.database_metrics import counted
from server.kernel.faults import Busy, StorageFull, TookTooLong

RETRYABLE = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
_BUSY = "The database is busy; retry later."
_GONE = "The database is not available; retry later."
_FULL = "The database has no room left; retry later."

# By SQLSTATE, or by its class of two characters.
FAULTS: Mapping[str, type[Busy]] = {
    "57014": TookTooLong,  # query_canceled: statement_timeout
    "08": Busy,  # connection exception
    "25006": Busy,  # read_only_sql_transaction: a standby, while a fail-over is under way
    "25P03": Busy,  # idle_in_transaction_session_timeout
    "53": Busy,  # insufficient resources, such as too_many_connections
    "53100": StorageFull,  # disk_full
    "55P03": Busy,  # lock_not_available: lock_timeout
    "57": Busy,  # operator intervention: a shutdown, a crash
    "58": Busy,  # system error: the server's disk failed
}


class Retry(Exception):
    """The database asked for the whole transaction to be run again."""


@contextmanager
def as_faults() -> Iterator[None]:
    """Turn the errors of statements and commits into the kernel's faults."""
    try:
        yield
    except (PoolTimeout, InterfaceError, ConnectionError, TimeoutError) as error:
        raise counted(Busy(_GONE)) from error
    except DBAPIError as error:
        _raise_fault_of(error.orig or error, error)
        raise
    except sqlite3.Error as error:
        _raise_fault_of(error, error)
        raise


@contextmanager
def as_faults_of_reading() -> Iterator[None]:
    """The same for what is not run again: a read that stood in a migration's way, and was chosen to yield."""
    try:
        with as_faults():
            yield
    except Retry as deadlock:
        raise counted(Busy(_BUSY)) from deadlock


@contextmanager
def reaching_the_database() -> Iterator[None]:
    """Turn the errors of connecting into the kernel's faults: a name not known, a port that nobody is at."""
    try:
        yield
    except OSError as error:
        raise counted(Busy(_GONE)) from error


def _raise_fault_of(cause: BaseException, error: BaseException) -> None:
    """Raise the fault that a driver's error stands for, if it stands for one."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        raise counted(Busy(_GONE)) from error
    if isinstance(cause, sqlite3.Error):
        _raise_fault_of_sqlite(cause)
        return
    sqlstate = getattr(cause, "sqlstate", None) or ""
    if sqlstate in RETRYABLE:
        raise Retry from error
    fault = FAULTS.get(sqlstate) or FAULTS.get(sqlstate[:2])
    if fault is not None:
        raise counted(fault(_FULL if fault is StorageFull else _BUSY)) from error


def _raise_fault_of_sqlite(cause: sqlite3.Error) -> None:
    message = str(cause)
    if "disk is full" in message or "disk I/O error" in message:
        raise counted(StorageFull(_FULL)) from cause
    if "database is locked" in message:
        raise counted(Busy(_BUSY)) from cause
    if message == "interrupted":
        raise counted(TookTooLong(_BUSY)) from cause
