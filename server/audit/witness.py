"""The longest chain of seals that this process saw: it stays when tables of the database are emptied."""

from weakref import WeakKeyDictionary

from server.audit.seal import Chain
from server.kernel.database import Database

_SEEN: WeakKeyDictionary[Database, Chain] = WeakKeyDictionary()


def seen(database: Database) -> Chain | None:
    """The chain as this process saw it last; None: it saw none."""
    return _SEEN.get(database)


def remember(database: Database, chain: Chain) -> None:
    """A chain that is ours."""
    known = seen(database)
    if known is None or chain.last >= known.last:
        _SEEN[database] = chain
