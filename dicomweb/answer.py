"""An HTTP answer as a value, so that only `routes.py` knows the web framework."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, header fields, and a body that is at hand or arrives in chunks."""

    body: bytes | AsyncIterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    status: HTTPStatus = HTTPStatus.OK


def not_modified(entity_tag: str, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
    """The client's copy still holds; `headers`: those of the answer that a cache needs (RFC 9110 §15.4.5)."""
    return Answer(b"", {**headers, "ETag": entity_tag}, HTTPStatus.NOT_MODIFIED)


def weak_tag(digest: bytes) -> str:
    """An entity tag for what these digests stand for; weak, since boundaries differ (RFC 9110 §8.8.3)."""
    return f'W/"{digest[:16].hex()}"'


def strong_tag(digest: bytes) -> str:
    """An entity tag for these very bytes, which a range may be asked of (RFC 9110 §8.8.1)."""
    return f'"{digest[:16].hex()}"'


def names_tag(if_none_match: str | None, entity_tag: str) -> bool:
    """Whether If-None-Match names this tag, by weak comparison (RFC 9110 §13.1.2)."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or entity_tag.removeprefix("W/") in tags
