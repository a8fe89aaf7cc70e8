"""DICOM unique identifiers of our own (PS3.5 Annex B.2, UUID-derived), and FHIR ids."""

import hashlib
import secrets
import uuid
from collections.abc import Iterable


def new_uid() -> str:
    """A fresh UUID-derived UID under 2.25."""
    return f"2.25.{uuid.uuid4().int}"


def derived_uid(*parts: str) -> str:
    """The UID that belongs to these parts, the same each time: a retry cannot double an object."""
    digest = hashlib.sha256("\x00".join(parts).encode()).digest()[:16]
    return f"2.25.{uuid.UUID(bytes=digest, version=4).int}"


def hash_of_uids(uids: Iterable[str]) -> str:
    """SHA-256 over a set of UIDs in hexadecimal: the same whatever their order."""
    return hashlib.sha256("\n".join(sorted(set(uids))).encode()).hexdigest()


def new_id() -> str:
    """A fresh FHIR logical id: a lower-case UUID (FHIR R4 datatypes.html#id)."""
    return str(uuid.uuid4())


def derived_id(*parts: str) -> str:
    """The FHIR logical id that belongs to these parts, the same each time."""
    return str(uuid.UUID(bytes=hashlib.sha256("\x00".join(parts).encode()).digest()[:16], version=4))


def new_secret() -> str:
    """256 random bits as URL-safe text, for tokens and client secrets."""
    return secrets.token_urlsafe(32)
