"""For whom a Subscription acts: the caller that wrote it, by what that caller may do when something happens.

Kept beside the resource, as the name of the authority and not as what it opened once: a client that is
disabled, a scope that is narrowed, a merge that is undone hold from the next event on.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.access import Access, Origin, Permission, Principal, Reach
from server.kernel.faults import Fault, FaultKind, Forbidden

# What an authority may do by now; None: nothing any more. Without an origin it needed no token.
AccessBy = Callable[[AsyncConnection, Origin | None, Principal], Awaitable[Access | None]]


class AuthorityEnded(Fault):
    """Who asked for the Subscription may not do so any more."""

    kind = FaultKind.FORBIDDEN


def write_authority(access: Access) -> str:
    """The authority as JSON text."""
    origin = None if access.origin is None else asdict(access.origin)
    return orjson.dumps({"principal": asdict(access.principal), "origin": origin}).decode()


def principal_of(authority: str) -> Principal:
    """Who it is, as audit names it."""
    return Principal(**orjson.loads(authority)["principal"])


async def access_now(connection: AsyncConnection, authority: str, access_by: AccessBy) -> Access:
    """What the authority may do now.

    Raises:
        AuthorityEnded: it does not stand any more.
    """
    said = orjson.loads(authority)
    origin = None if said["origin"] is None else Origin(**said["origin"])
    access = await access_by(connection, origin, Principal(**said["principal"]))
    if access is None:
        raise AuthorityEnded("The authority of who asked for this Subscription has ended.")
    return access


def reach_of(access: Access, resource_type: str) -> Reach:
    """How far notifications of this type may go: criteria are a search, and what they find is read.

    Raises:
        AuthorityEnded: one of the two is not granted.
    """
    try:
        access.reach(resource_type, Permission.SEARCH)
        return access.reach(resource_type, Permission.READ)
    except Forbidden:
        text = f"A Subscription to {resource_type} needs the permissions to search and read it."
        raise AuthorityEnded(text) from None
