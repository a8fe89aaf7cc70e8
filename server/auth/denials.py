"""What of a caller denials look at: who they are, what they do, whose record is theirs (decision 0034).

Asked with the token, and as long as anybody denies anything only.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.consents.actors import actors_of
from fhir.consents.rule import ACCESS, DISCLOSE
from server.kernel.access import Access, Denials
from server.kernel.consents.keep import any_denial
from server.kernel.patient_merge import patients_opened_by

EMERGENCY = "BTG"  # purpose of use of a grant: break the glass (v3 ActReason)
_PATIENT = "Patient/"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as denials go."""

    fhir_user: str | None = None  # of the user who stands behind the token
    represents: str | None = None  # a reference: for whom a client acts
    discloses: bool = True  # what is read goes to a program that acts for nobody who looks at it
    in_emergency: bool = False  # for the patients of the token


async def bounded_by_denials(
    connection: AsyncConnection, access: Access, caller: Caller, at_us: int
) -> Access:
    """The access with what patients deny to this caller.

    To whom more may be denied than is looked for, everything is.
    """
    if not await any_denial(connection):
        return access
    actors: Collection[str] = {caller.represents} if caller.represents else set()
    own: frozenset[str] = frozenset()
    if caller.fhir_user is not None:
        named = await actors_of(connection, caller.fhir_user)
        if named is None:
            return replace(access, grants=(), patient_ids=frozenset(), is_confined=True)
        actors = {*actors, *named}
        if caller.fhir_user.startswith(_PATIENT):
            own = await patients_opened_by(connection, caller.fhir_user.removeprefix(_PATIENT))
    acts = {ACCESS, DISCLOSE} if caller.discloses else {ACCESS}
    exempt = (access.patient_ids or frozenset()) if caller.in_emergency else frozenset()
    return replace(access, denials=Denials(frozenset(actors), frozenset(acts), at_us, own, exempt))
