"""Tables of the authorization server: clients, users, what users allowed clients, and the tokens for it.

Secrets and tokens are here only as SHA-256 hashes: they are 256 random bits, so a plain hash hides them.
Passwords, which are not random, are hashed by Argon2id. What is used once has `used_us`.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Text, UniqueConstraint
from sqlmodel import Field

from server.kernel.rows import Row
from server.kernel.tables import big_key

# Of rows that bookkeeping takes while others, or what was begun before, may still name them: on SQLite ids
# are otherwise the highest that is there plus one.
NOT_GIVEN_AGAIN = {"sqlite_autoincrement": True}


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
    registration_hash: str | None = (
        None  # of the token by which it manages itself (RFC 7592); None: it cannot
    )
    may_launch: bool = False  # an EHR's: it prepares launches (SMART 2.2, EHR launch)
    created_us: int = Field(sa_type=BigInteger)
    disabled_us: int | None = Field(default=None, sa_type=BigInteger)  # None: the client is in use
    represents: str | None = None  # "Organization/…": who it is to a Consent, when it acts for itself


class AccessToken(Row, table=True):
    """An issued access token (RFC 6750): opaque to its bearer, found by its hash."""

    __tablename__ = "access_token"

    id: int | None = Field(default=None, sa_column=big_key())
    token_hash: str = Field(unique=True)
    client_id: str | None = Field(default=None, index=True)  # None: issued by an administrator
    grant_id: int | None = Field(
        default=None, sa_type=BigInteger, index=True
    )  # None: no user stands behind it
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


class UserAccount(Row, table=True):
    """Someone who logs in. An account is disabled, never removed: its name stays what audit calls them."""

    __tablename__ = "user_account"
    __table_args__ = (UniqueConstraint("issuer", "subject"),)

    id: int | None = Field(default=None, sa_column=big_key())
    name: str = Field(unique=True)  # folded; the Principal's id is "user:" and this
    display: str
    role: str  # server.auth.users.roles.Role
    fhir_user: str | None = (
        None  # the claim fhirUser, relative: "Practitioner/…"; None: they have no resource
    )
    patient_id: str | None = None  # of the role patient: whose record is theirs
    password_hash: str | None = None  # Argon2id in PHC form; None: they log in elsewhere only
    issuer: str | None = None  # the external OpenID provider that knows them
    subject: str | None = None  # their `sub` there
    created_us: int = Field(sa_type=BigInteger)
    disabled_us: int | None = Field(default=None, sa_type=BigInteger)  # None: the account is in use


class LoginFailure(Row, table=True):
    """Failed logins under one name, whether there is such a user or not."""

    __tablename__ = "login_failure"

    name_hash: str = Field(
        primary_key=True
    )  # SHA-256 of the folded name, alone or with where it was typed: it may be a password in the wrong field
    failures: int  # in a row
    last_us: int = Field(sa_type=BigInteger, index=True)
    locked_until_us: int = Field(sa_type=BigInteger)


class LoginSession(Row, table=True):
    """One login of one browser."""

    __tablename__ = "login_session"
    __table_args__ = NOT_GIVEN_AGAIN

    id: int | None = Field(default=None, sa_column=big_key())
    token_hash: str = Field(unique=True)  # of the cookie
    user_id: int = Field(sa_type=BigInteger, index=True)
    authenticated_us: int = Field(sa_type=BigInteger)  # the claim auth_time
    used_us: int = Field(sa_type=BigInteger)  # written at most once a minute
    expires_us: int = Field(sa_type=BigInteger, index=True)  # however much it is used
    issuer: str | None = None  # the external provider that they logged in at; None: by password, here
    provider_session: str | None = Field(default=None, index=True)  # its `sid`; None: it told none
    ended_us: int | None = Field(default=None, sa_type=BigInteger)  # logged off


class AuthorizationRequest(Row, table=True):
    """A request to authorize that a browser is answering, page by page (RFC 6749 §4.1.1)."""

    __tablename__ = "authorization_request"
    __table_args__ = NOT_GIVEN_AGAIN

    id: int | None = Field(default=None, sa_column=big_key())
    handle_hash: str = Field(unique=True)  # of what stands in the URLs of its pages
    browser_hash: str  # of the cookie of the browser that began it
    client_id: str
    parameters: str = Field(sa_type=Text)  # JSON: as they were validated
    launch_id: int | None = Field(default=None, sa_type=BigInteger)  # the launch that it redeemed
    patient_id: str | None = None  # picked, or brought by the launch
    encounter_id: str | None = None  # picked; "": the user wants none; None: not asked yet
    state_hash: str | None = None  # of the state of the login under way at a provider; None: there is none
    expires_us: int = Field(sa_type=BigInteger, index=True)
    used_us: int | None = Field(default=None, sa_type=BigInteger)  # answered: a code, or a refusal


class OAuthGrant(Row, table=True):
    """What a user allowed a client once; tokens and codes stand and fall with it (decision 0032)."""

    __tablename__ = "oauth_grant"
    __table_args__ = NOT_GIVEN_AGAIN

    id: int | None = Field(default=None, sa_column=big_key())
    client_id: str = Field(index=True)
    user_id: int = Field(sa_type=BigInteger, index=True)
    session_id: int = Field(sa_type=BigInteger, index=True)
    scope: str = Field(sa_type=Text)
    patient_id: str | None = None
    context: str = Field(default="{}", sa_type=Text)  # JSON: launch parameters beside the patient (SMART 2.2)
    purpose: str | None = None  # PurposeOfUse, when it is not treatment: BTG
    is_offline: bool = False  # whether it outlives the session
    created_us: int = Field(sa_type=BigInteger)
    expires_us: int | None = Field(default=None, sa_type=BigInteger)  # None: it has no end of its own
    ended_us: int | None = Field(default=None, sa_type=BigInteger)  # None: it stands


class AuthorizationCode(Row, table=True):
    """A code that buys the first tokens of a grant (RFC 6749 §4.1.2), with what must be said again."""

    __tablename__ = "authorization_code"

    id: int | None = Field(default=None, sa_column=big_key())
    code_hash: str = Field(unique=True)
    grant_id: int = Field(sa_type=BigInteger)
    redirect_uri: str
    code_challenge: str  # S256 (RFC 7636)
    nonce: str | None = Field(default=None, sa_type=Text)
    expires_us: int = Field(sa_type=BigInteger, index=True)
    used_us: int | None = Field(default=None, sa_type=BigInteger)


class RefreshToken(Row, table=True):
    """One of the refresh tokens of a grant, each used once (RFC 9700 §4.14.2)."""

    __tablename__ = "refresh_token"

    id: int | None = Field(default=None, sa_column=big_key())
    token_hash: str = Field(unique=True)
    grant_id: int = Field(sa_type=BigInteger, index=True)
    expires_us: int = Field(sa_type=BigInteger, index=True)
    used_us: int | None = Field(default=None, sa_type=BigInteger)


class Launch(Row, table=True):
    """A launch that an EHR prepared for one client, and maybe one user (SMART 2.2, EHR launch)."""

    __tablename__ = "launch"
    __table_args__ = NOT_GIVEN_AGAIN

    id: int | None = Field(default=None, sa_column=big_key())
    handle_hash: str = Field(unique=True)
    client_id: str
    user_id: int | None = Field(default=None, sa_type=BigInteger)  # None: whoever logs in
    patient_id: str | None = None
    context: str = Field(default="{}", sa_type=Text)  # JSON, as of a grant
    expires_us: int = Field(sa_type=BigInteger, index=True)
    used_us: int | None = Field(default=None, sa_type=BigInteger)


class SigningKey(Row, table=True):
    """A key that signs id_tokens; its private half lies sealed under the master key."""

    __tablename__ = "signing_key"

    id: int | None = Field(default=None, sa_column=big_key())
    kid: str = Field(unique=True)
    public_jwk: str = Field(sa_type=Text)
    sealed_jwk: bytes = Field(sa_type=LargeBinary)
    signs_from_us: int = Field(sa_type=BigInteger)
    verifies_until_us: int | None = Field(default=None, sa_type=BigInteger)  # None: it is not retired


class RegistrationToken(Row, table=True):
    """An initial access token: whoever has it may register clients (RFC 7591 §3)."""

    __tablename__ = "registration_token"

    id: int | None = Field(default=None, sa_column=big_key())
    token_hash: str = Field(unique=True)
    created_us: int = Field(sa_type=BigInteger)
    expires_us: int = Field(sa_type=BigInteger)
    used_us: int | None = Field(default=None, sa_type=BigInteger)


class EmergencyAccess(Row, table=True):
    """A user who broke the glass: whose record, why, and who has looked at it since."""

    __tablename__ = "emergency_access"
    __table_args__ = (Index(None, "reviewed_us", "begun_us"),)

    id: int | None = Field(default=None, sa_column=big_key())
    grant_id: int = Field(sa_type=BigInteger, index=True, unique=True)
    user_id: int = Field(sa_type=BigInteger, index=True)
    patient_id: str = Field(index=True)
    client_id: str  # through which app
    token: str | None = None  # as audit names the access token; None: none was fetched yet
    reason: str = Field(sa_type=Text)
    begun_us: int = Field(sa_type=BigInteger)
    reviewed_us: int | None = Field(default=None, sa_type=BigInteger)
    reviewer: str | None = None  # the Principal's id
    verdict: str | None = Field(default=None, sa_type=Text)  # server.auth.emergency.review.Verdict
    note: str | None = Field(default=None, sa_type=Text)  # what the reviewer has to say
