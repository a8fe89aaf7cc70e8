"""What entries are called in their Bundle, and what they are called here (bundle.html#references). Pure.

`fullUrl` is an absolute name: `urn:uuid:…`, `urn:oid:…`, or the URL of the resource where it comes from; to
that place a relative reference is relative. As the value of a uri such a URL stays: R4 would have it
replaced, but the `url` of a ValueSet names it everywhere, wherever it is stored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fhir.bundles.places import Link
from server.kernel.faults import Fault, FaultKind

_RESTFUL = re.compile(
    r"(?P<base>https?://.+)/(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?"
)
_RELATIVE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_HISTORY = "/_history/"
MAX_MARKS = 8  # that each text is searched for; with more it is walked
_URN = "urn:"


class UnknownVersion(Fault):
    """A link to a version of an entry whose version is known only when it is written."""

    kind = FaultKind.INVALID


@dataclass(frozen=True, slots=True)
class Named:
    """A resource of this server: `Type/id`, and whether the transaction makes its first version."""

    reference: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class Names:
    """What links of the Bundle lead to: by fullUrl, and by the criteria of a conditional reference."""

    by_full_url: Mapping[str, Named]
    by_condition: Mapping[str, str]

    @property
    def marks(self) -> tuple[bytes, ...] | None:
        """What links by fullUrl begin with, wherever they stand; None: they may begin with anything."""
        if not all(url.startswith(_URN) for url in self.by_full_url):
            return None
        marks = {b":".join(url.encode().split(b":")[:2]) + b":" for url in self.by_full_url}
        return tuple(sorted(marks)) if len(marks) <= MAX_MARKS else None

    def rewrite(self, kind: Link, link: str, base: str | None) -> str:
        """What a link becomes, from an entry of this base.

        Raises:
            UnknownVersion: it leads to a version that nobody knows yet.
        """
        if kind is Link.REFERENCE and (found := self.by_condition.get(link)) is not None:
            return found
        head, hash_, fragment = link.partition("#")
        if head:
            named = self._of(head, kind, base)
            if named is not None:
                return f"{named}{hash_}{fragment}"
        return link

    def _of(self, url: str, kind: Link, base: str | None) -> str | None:
        if kind is Link.URI and not url.startswith(_URN):
            return None
        if kind is Link.REFERENCE and base is not None and _RELATIVE.fullmatch(url):
            url = f"{base}/{url}"
        if (named := self.by_full_url.get(url)) is not None:
            return named.reference
        before, history, _ = url.rpartition(_HISTORY)
        if not history or (named := self.by_full_url.get(before)) is None:
            return None
        if not named.is_new:
            raise UnknownVersion("A reference to a version of what is updated cannot be told beforehand.")
        return f"{named.reference}{_HISTORY}1"


def base_of(full_url: str | None) -> str | None:
    """The base that relative references in an entry are relative to; None: they are to this server."""
    match = _RESTFUL.fullmatch(full_url or "")
    return match["base"] if match else None
