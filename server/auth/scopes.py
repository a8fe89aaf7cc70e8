"""SMART scopes as values (SMART App Launch 2.2, Scopes and Launch Context), and what they open.

Both syntaxes are read: version 2 (`patient/Observation.rs`, permissions in the order c r u d s) and version 1
(`patient/Observation.read`). Rule: a scope that is not understood whole is refused, never widened; so are
granular scopes (`?category=…`) that the search cannot hold a caller to.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from server.kernel.access import Access, Context, Criteria, Grant, Permission, Principal
from server.kernel.faults import Fault

MAX_SCOPE_TEXT = 8192  # characters of one scope parameter; every R4 type asked for singly stays under it

_ALL = "cruds"
_VERSION_1: Mapping[str, str] = {"read": "rs", "write": "cud", "*": _ALL}  # SMART 2.2, Scopes for v1 clients

_RESOURCE_SCOPE = re.compile(r"(patient|user|system)/([A-Z][A-Za-z]{0,63}|\*)\.([a-z]+|\*)(\?.*)?", re.ASCII)
_VERSION_2 = re.compile(r"c?r?u?d?s?")
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 §3.3

CONTEXT_SCOPES = frozenset(  # scopes that open no resource
    {
        "openid",
        "fhirUser",
        "profile",
        "launch",
        "launch/patient",
        "launch/encounter",
        "offline_access",
        "online_access",
    }
)


class InvalidScope(Fault):
    """A scope is unknown, malformed or not to be had (RFC 6749 §5.2, invalid_scope)."""


@dataclass(frozen=True, slots=True)
class ResourceScope:
    """One scope that opens a resource type; `text` is the syntax it was asked in."""

    context: Context
    resource_type: str  # or "*"
    permissions: frozenset[Permission]
    text: str
    criteria: Criteria = ()  # sorted; of a granular scope

    def as_grant(self) -> Grant:
        """The grant this scope gives."""
        return Grant(self.context, self.resource_type, self.permissions, self.criteria)


@dataclass(frozen=True, slots=True)
class Scopes:
    """A parsed scope parameter: each scope once, in the order asked."""

    resources: tuple[ResourceScope, ...] = ()
    others: tuple[str, ...] = ()  # of CONTEXT_SCOPES

    def __bool__(self) -> bool:
        return bool(self.resources or self.others)

    @property
    def text(self) -> str:
        """The scope parameter that says the same."""
        return " ".join((*self.others, *(scope.text for scope in self.resources)))

    def in_context(self, context: Context) -> "Scopes":
        """Only the resource scopes of one context."""
        return Scopes(tuple(scope for scope in self.resources if scope.context is context))


def parse_scopes(text: str) -> Scopes:
    """Read a scope parameter (RFC 6749 §3.3).

    Raises:
        InvalidScope: a scope is not understood; the message names it.
    """
    if len(text) > MAX_SCOPE_TEXT:
        raise InvalidScope(f"The scope parameter is longer than {MAX_SCOPE_TEXT} characters.")
    tokens = list(dict.fromkeys(text.split(" ")))
    others = tuple(token for token in tokens if token in CONTEXT_SCOPES)
    return Scopes(
        tuple(_resource_scope(token) for token in tokens if token and token not in CONTEXT_SCOPES), others
    )


def intersect(requested: Scopes, allowed: Scopes) -> Scopes:
    """The part of what was asked for that is allowed, in the syntax asked; empty when there is none.

    Raises:
        InvalidScope: it is longer than a scope parameter may be, since a wildcard became the types allowed.
    """
    parts = (part for asked in requested.resources for part in _allowed_parts(asked, allowed.resources))
    unique = {(part.context, part.resource_type, part.permissions, part.criteria): part for part in parts}
    found = Scopes(
        tuple(unique.values()), tuple(other for other in requested.others if other in allowed.others)
    )
    if len(found.text) > MAX_SCOPE_TEXT:
        raise InvalidScope(f"What is allowed of the scope is longer than {MAX_SCOPE_TEXT} characters.")
    return found


def access_from(principal: Principal, scopes: Scopes, patient_ids: frozenset[str] | None) -> Access:
    """What a caller with these scopes may do; `patient_ids` as in `Access`."""
    return Access(principal, tuple(scope.as_grant() for scope in scopes.resources), patient_ids)


def _resource_scope(token: str) -> ResourceScope:
    if not _SCOPE_TOKEN.fullmatch(token):
        raise InvalidScope("The scope parameter has a character that RFC 6749 section 3.3 does not allow.")
    match = _RESOURCE_SCOPE.fullmatch(token)
    if match is None:
        raise InvalidScope(f"The scope {token} is not known.")
    context, resource_type, permissions, query = match.groups()
    opened = _permissions(token, permissions)
    criteria = () if query is None else _criteria(token, resource_type, query[1:])
    return ResourceScope(Context(context), resource_type, opened, token, criteria)


def _criteria(token: str, resource_type: str, query: str) -> Criteria:
    """What a granular scope opens only (SMART 2.2, Finer-grained resource constraints)."""
    from fhir.search.narrowed import why_not_held  # here: definitions are read by who needs them
    from fhir.search.narrowing import MAX_CRITERIA, MAX_CRITERIA_TEXT

    if len(query) > MAX_CRITERIA_TEXT:
        raise InvalidScope(f"The criteria of a scope are longer than {MAX_CRITERIA_TEXT} characters.")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        pairs = []
    if any("\x00" in text for pair in pairs for text in pair):
        pairs = []
    if not pairs:  # of an empty query too: without criteria it would be the whole type
        raise InvalidScope(f"The scope {token} has a query without criteria.")
    if len(pairs) > MAX_CRITERIA:
        raise InvalidScope(f"The scope {token} has more than {MAX_CRITERIA} criteria.")
    criteria = tuple(sorted(pairs))
    why_not = why_not_held(resource_type, criteria)
    if why_not is not None:
        raise InvalidScope(f"The scope {token} cannot be held to. {why_not}")
    return criteria


def _permissions(token: str, text: str) -> frozenset[Permission]:
    letters = _VERSION_1.get(text, text)
    if not _VERSION_2.fullmatch(letters):
        raise InvalidScope(f"The scope {token} must name permissions of 'cruds' in this order.")
    return frozenset(Permission(letter) for letter in letters)


def _allowed_parts(asked: ResourceScope, allowed: Iterable[ResourceScope]) -> Iterator[ResourceScope]:
    same_context = [scope for scope in allowed if scope.context is asked.context]
    yield from _granular_parts(asked, [scope for scope in same_context if scope.criteria])
    same_context = [scope for scope in same_context if not scope.criteria]
    opened = _united(scope for scope in same_context if scope.resource_type in ("*", asked.resource_type))
    if asked.permissions & opened:
        yield _narrowed(asked, asked.resource_type, asked.permissions & opened)
    if asked.resource_type == "*" and not asked.criteria:
        for resource_type in dict.fromkeys(scope.resource_type for scope in same_context):
            more = _united(scope for scope in same_context if scope.resource_type == resource_type) - opened
            if asked.permissions & more:
                yield _narrowed(asked, resource_type, asked.permissions & (more | opened))


def _granular_parts(asked: ResourceScope, allowed: Iterable[ResourceScope]) -> Iterator[ResourceScope]:
    """What granular scopes allow of it: of a granular one only the same criteria."""
    for scope in allowed:
        permissions = asked.permissions & scope.permissions
        if not permissions or asked.resource_type not in ("*", scope.resource_type):
            continue
        if asked.criteria == scope.criteria:
            yield _narrowed(asked, asked.resource_type, permissions)
        elif not asked.criteria:
            yield _narrowed(scope, scope.resource_type, permissions)


def _united(scopes: Iterable[ResourceScope]) -> frozenset[Permission]:
    return frozenset(permission for scope in scopes for permission in scope.permissions)


def _narrowed(asked: ResourceScope, resource_type: str, permissions: frozenset[Permission]) -> ResourceScope:
    if (resource_type, permissions) == (asked.resource_type, asked.permissions):
        return asked
    _, question, query = asked.text.partition("?")
    text = f"{asked.context.value}/{resource_type}.{permission_text(permissions)}{question}{query}"
    return ResourceScope(asked.context, resource_type, permissions, text, asked.criteria)


def permission_text(permissions: Iterable[Permission]) -> str:
    """Permissions in the order of the standard."""
    return "".join(sorted((permission.value for permission in permissions), key=_ALL.index))
