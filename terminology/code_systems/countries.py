"""Countries, urn:iso:std:iso:3166: those listed, and the codes that ISO 3166-1 leaves to users (§8.1.3).

User-assigned codes are valid and in no expansion.
"""

import re
from collections.abc import Mapping, Sequence

from terminology.code_system import Filter
from terminology.concept import Concept
from terminology.filters import holds
from terminology.listed import ListedCodeSystem

URL = "urn:iso:std:iso:3166"
_USER_ASSIGNED = re.compile(
    r"AA|Q[M-Z]|X[A-Z]|ZZ|AA[A-Z]|Q[M-Z][A-Z]|X[A-Z][A-Z]|ZZ[A-Z]|9[0-9]{2}", re.ASCII
)


class CountryCodeSystem(ListedCodeSystem):
    """ISO 3166-1 in memory."""

    async def locate(self, code: str) -> Concept | None:
        """The concept of a code."""
        return await super().locate(code) or _user_assigned(code)

    async def locate_all(self, codes: Sequence[str]) -> Mapping[str, Concept]:
        """The concepts of those codes that there are."""
        found = dict(await super().locate_all(codes))
        return found | {
            code: concept
            for code in codes
            if code not in found and (concept := _user_assigned(code)) is not None
        }

    async def lets_through(self, code: str, filters: Sequence[Filter]) -> bool:
        """Whether all filters let a code through."""
        if (concept := _user_assigned(code)) is None:
            return await super().lets_through(code, filters)
        return all(holds(each, concept, self.hierarchy) for each in filters)


def _user_assigned(code: str) -> Concept | None:
    return Concept(code, "User-assigned") if _USER_ASSIGNED.fullmatch(code) else None
