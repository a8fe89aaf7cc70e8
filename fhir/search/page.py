"""Page tokens: where the next page begins, signed and bound to the search and to the caller's reach.

There is no result cache on the server: a token holds the sort values and the rid of the last entry. It is
refused for another search, another caller or another reach.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from fhir.search.order import After
from fhir.search.value import InvalidSearch
from server.kernel.access import Principal, Reach

_SIGNATURE_BYTES = 16
_MAX_TOKEN_CHARACTERS = 8_192


@dataclass(frozen=True, slots=True)
class Pager:
    """Makes and reads the page tokens of one search by one caller."""

    secret: bytes
    binding: bytes

    def token(self, after: After) -> str:
        """The token of the page that begins after this entry."""
        payload = orjson.dumps([after.rid, *after.values])
        return base64.urlsafe_b64encode(self._signature(payload) + payload).rstrip(b"=").decode()

    def read(self, token: str) -> After:
        """Where the page of this token begins.

        Raises:
            InvalidSearch: not a token of this search and this caller.
        """
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise InvalidSearch("The page token is not valid.")
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise InvalidSearch("The page token is not valid.") from None
        signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(payload)):
            raise InvalidSearch("The page token belongs to another search or another caller.")
        rid, *values = orjson.loads(payload)
        return After(tuple(values), rid)

    def _signature(self, payload: bytes) -> bytes:
        return hmac.digest(self.secret, self.binding + b"\x00" + payload, "sha256")[:_SIGNATURE_BYTES]


def pager(
    secret: bytes,
    principal: Principal,
    reaches: Mapping[str, Reach],
    path: str,
    understood: Sequence[tuple[str, str]],
) -> Pager:
    """The pager of a search by a caller who reaches so far in each type that is searched."""
    opened = {
        name: [
            [None if part.patient_ids is None else sorted(part.patient_ids), part.criteria]
            for part in reach.parts
        ]
        for name, reach in reaches.items()
    }
    bound = orjson.dumps([path, list(understood), principal.id, opened], option=orjson.OPT_SORT_KEYS)
    return Pager(secret, hashlib.sha256(bound).digest())
