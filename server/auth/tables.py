"""Tables of the authorization server: clients, access tokens, used client assertions.

Secrets and tokens are here only as SHA-256 hashes: they are 256 random bits, so a plain hash hides them.
"""

from sqlalchemy import BigInteger, Column, Text, UniqueConstraint
from sqlmodel import Field

from server.kernel.rows import Row
from server.kernel.tables import big_key


class OAuthClient(Row, table=True):
    """A registered client (RFC 7591 §2 names its metadata)."""

    __tablename__ = "oauth_client"

    id: int | None = Field(default=None, sa_column=big_key())
    client_id: str = Field(unique=True)
    name: str
    token_endpoint_auth_method: str  # client_secret_basic | client_secret_post | private_key_jwt | none
    secret_hash: str | None = None  # None: the client has no secret
    jwks: str | None = Field(
        default=None, sa_type=Text
    )  # JSON, public keys only; None: the client has no keys
    jwks_uri: str | None = None  # where its keys are published; None: they are in `jwks`
    scope: str = Field(sa_type=Text)  # the most it may be granted
    grant_types: str = Field(sa_type=Text)  # JSON list
    redirect_uris: str = Field(default="[]", sa_type=Text)  # JSON list
    created_us: int = Field(sa_type=BigInteger)
    disabled_us: int | None = Field(default=None, sa_type=BigInteger)  # None: the client is in use


class AccessToken(Row, table=True):
    """An issued access token (RFC 6750): opaque to its bearer, found by its hash."""

    __tablename__ = "access_token"

    id: int | None = Field(default=None, sa_column=big_key())
    token_hash: str = Field(unique=True)
    client_id: str | None = Field(default=None, index=True)  # None: issued by an administrator
    subject: str  # the Principal's id
    scope: str = Field(sa_type=Text)
    patient_id: str | None = None  # the launch patient; None: the token has no patient
    issued_us: int = Field(sa_type=BigInteger)
    expires_us: int = Field(sa_type=BigInteger, index=True)
    revoked_us: int | None = Field(default=None, sa_type=BigInteger)  # None: not revoked


class ClientAssertionJti(Row, table=True):
    """A client assertion that was used: it buys nothing twice (RFC 7523 §3 item 7)."""

    __tablename__ = "client_assertion_jti"
    __table_args__ = (UniqueConstraint("issuer", "jti"),)

    id: int | None = Field(default=None, sa_column=big_key())
    issuer: str
    jti: str
    expires_us: int = Field(sa_column=Column(BigInteger, nullable=False, index=True))
