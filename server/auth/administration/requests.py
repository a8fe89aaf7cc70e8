"""The bodies of the administration of users and clients, read. Pure."""

from typing import TypeVar

import msgspec

from server.auth.users.roles import Role
from server.kernel.faults import Fault

T = TypeVar("T")


class InvalidBody(Fault):
    """The body does not say what it must."""


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object of just these members."""


class UserBody(Body, frozen=True):
    """An account; without a password its user cannot log in here yet."""

    name: str
    role: Role = Role.CLINICIAN
    display: str | None = None
    password: str | None = None
    fhir_user: str | None = msgspec.field(default=None, name="fhirUser")
    patient: str | None = None
    subject: str | None = None  # at the external provider


class LinkBody(Body, frozen=True):
    """Who a user is at the external provider: the `sub` of its id_tokens."""

    subject: str


class PasswordBody(Body, frozen=True):
    """A password that an administrator sets."""

    password: str


class TokenBody(Body, frozen=True):
    """An initial access token (RFC 7591 §3)."""

    ttl_s: int = 3600


class ClientBody(Body, frozen=True):
    """A client, by the names of RFC 7591 §2 as far as they have one."""

    client_name: str
    scope: str
    redirect_uris: tuple[str, ...] = ()
    jwks: dict[str, object] | None = None
    jwks_uri: str | None = None
    confidential: bool = False
    may_launch: bool = False
    represents: str | None = None


class LaunchingBody(Body, frozen=True):
    """Whether a client may prepare launches."""

    may_launch: bool


def read_body(body: bytes, kind: type[T]) -> T:
    """The body as one of the kinds above.

    Raises:
        InvalidBody: it is no JSON, lacks a member, or has one of another kind or name.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
        raise InvalidBody(f"The body cannot be taken: {said}.") from error
