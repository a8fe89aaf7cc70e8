"""Settings: environment (`ISTHMUS_…`), `ISTHMUS_…_FILE` for secrets, `isthmus.toml`; the first wins.

Command line options are passed as arguments and win over all of them.
"""

import re
import zoneinfo
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from server.kernel.database_limits import DatabaseLimits
from server.kernel.retention_policy import RetentionPolicy, RetentionRule
from server.kernel.site import Duplicates, Site
from server.kernel.subscription_policy import SubscriptionPolicy
from server.kernel.tls_files import TlsFiles
from server.kernel.tracing import TracingSettings
from server.setting_groups.federation import FederationSettings
from server.setting_groups.forwarding import ForwardingSettings
from server.setting_groups.inference import InferenceSettings
from server.setting_groups.objects import ObjectSettings
from server.setting_groups.outbound import OutboundSettings
from server.setting_groups.sources import PREFIX, SecretFiles
from server.viewer.release import REGISTRY

_PREFIX = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")  # of a path
DOORS = (
    frozenset(  # first segments of our own paths, which no prefix may have: a proxy may take it off or not
        {
            "dicom-web",
            "fhir",
            "auth",
            "admin",
            "ui",
            ".well-known",
            "docs",
            "openapi.json",
            "livez",
            "readyz",
            "metrics",
        }
    )
)
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


class Settings(
    ObjectSettings,
    OutboundSettings,
    FederationSettings,
    ForwardingSettings,
    InferenceSettings,
    BaseSettings,
):
    """Everything an operator may decide. Each has a default that works on a laptop."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        toml_file="isthmus.toml",
        extra="forbid",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on")
    public_base: str | None = Field(
        None,
        description="scheme://host[:port][/path] of every URL in answers; default: the address listened on",
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file of the certificate and its chain, to serve TLS; default: no TLS"
    )
    tls_key: Path | None = Field(None, description="PEM file of its private key, 0600")
    allowed_hosts: tuple[str, ...] = Field(
        (), description="Host names accepted beside the loopback names and the public base's"
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="origins (scheme://host[:port]) whose pages may call the server; default: none"
    )
    auth: bool = Field(
        True, description="whether a token is required; false is refused unless the host is loopback"
    )
    database_url: str | None = Field(
        None,
        description="sqlite+aiosqlite:///… or postgresql+asyncpg://…; default: SQLite in the data folder",
    )
    database_connections: int = Field(
        10, ge=2, le=200, description="connections to the database of each process, at most"
    )
    database_timeout_s: float = Field(
        30,
        ge=1,
        description="longest statement that reads; PostgreSQL: any other, wait for a lock, idle transaction",
    )
    worker: bool = Field(True, description="whether `serve` starts a worker process beside it")
    server_workers: int = Field(
        1, ge=1, description="server processes of one `serve`; more than one needs PostgreSQL"
    )
    drain_s: float = Field(
        0, ge=0, description="seconds that a server asked to stop is not ready and yet serves"
    )
    shutdown_s: int = Field(
        20, ge=0, description="seconds that requests under way have to end, once no new ones are taken"
    )
    quiet_time_s: float | None = Field(
        None,
        ge=0,
        description="seconds without a new instance until a study is settled; default: each rule's own (60)",
    )
    lease_s: float = Field(30, ge=2, description="seconds without a heartbeat until a worker's claim is lost")
    worker_grace_s: float = Field(
        6, ge=0, description="seconds that a worker asked to stop may go on; then it gives its workitem back"
    )
    allow_unsandboxed: bool = Field(
        False, description="run models without a sandbox where the system offers none"
    )
    max_request_mib: int = Field(4096, ge=1, description="largest STOW-RS request")
    site_patient_system: str = Field(
        "urn:isthmus:site:patient-id", description="Identifier.system of Patient IDs without an issuer"
    )
    issuer_systems: dict[str, str] = Field(
        default_factory=dict, description="Issuer of Patient ID → Identifier.system"
    )
    timezone: str | None = Field(
        None, description="IANA zone of DICOM times without an offset; default: dates only"
    )
    create_patients: bool = Field(True, description="whether an unknown Patient ID creates a Patient")
    duplicates: Duplicates = Field(
        Duplicates.REFUSE,
        description="refuse or replace: another data set under a SOP Instance UID that is stored",
    )
    fhir_create_on_update: bool = Field(
        True, description="whether PUT to an id that is not there creates the resource"
    )
    fhir_delete_multiple: bool = Field(
        False, description="whether a conditional delete takes all resources that match, instead of none"
    )
    fhir_require_references: bool = Field(
        False,
        description="whether references to resources of this server must lead to one when it is written",
    )
    fhir_require_profiles: bool = Field(
        False,
        description="whether a resource must obey the profiles in its meta.profile that are stored here",
    )
    open_terminology: bool = Field(
        False,
        description="whether definitions are read and terminology operations answered without a token",
    )
    open_registration: bool = Field(
        False, description="whether apps register without a token; refused unless the host is loopback"
    )
    max_expansion: int = Field(
        1_000,
        ge=1,
        le=10_000,
        description="codes of an expansion that nobody pages through; a larger one is too costly",
    )
    retention_rules: tuple[RetentionRule, ...] = Field(
        (), description="which studies go by themselves, and when; default: none, kept for ever"
    )
    outbox_retention_days: int = Field(
        14, ge=1, description="days that events which every reader has passed, and ended attempts, stay"
    )
    audit_retention_days: int | None = Field(
        None, ge=30, description="days that audit entries stay; default: for ever"
    )
    redis_url: str | None = Field(
        None, pattern="^(rediss?|unix)://", description="redis://… for several processes; default: none"
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="addresses or networks whose X-Forwarded-For tells where a request comes from"
    )
    max_requests_per_s: float | None = Field(
        None, gt=0, description="requests of one principal a second, in the long run; default: no limit"
    )
    failed_logins_per_minute: float = Field(
        60, ge=0, description="failed authentications from one address; 0: no limit"
    )
    logins_begun_per_minute: float = Field(
        120, ge=0, description="logins begun from one address without a launch; 0: no limit"
    )
    otlp_endpoint: str | None = Field(
        None, pattern="^https?://", description="base URL of an OTLP/HTTP receiver of traces; default: none"
    )
    trace_ratio: float = Field(1.0, ge=0, le=1, description="share kept of the traces that begin here")
    viewer: Path | None = Field(
        None, description="folder of the web viewer; default: viewer/ in the data folder"
    )
    viewer_registry: str = Field(
        REGISTRY, pattern="^https?://", description="npm registry from which `viewer install` gets it"
    )
    worker_metrics_port: int | None = Field(
        None, ge=0, le=65535, description="port on which a worker by itself tells its health and metrics"
    )
    worker_metrics_host: str = Field("127.0.0.1", description="address of that port")
    backup_key: str | None = Field(
        None, min_length=16, description="passphrase of an encrypted repository of backups"
    )
    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="least severe level logged"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  not read: one file format is enough
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  replaced by SecretFiles
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, environment, secret files, TOML: in this order."""
        return init_settings, env_settings, SecretFiles(settings_cls), TomlConfigSettingsSource(settings_cls)

    @field_validator("public_base")
    @classmethod
    def _is_base(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = value.rstrip("/")
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.netloc or "?" in value or "#" in value:
            raise ValueError("must be scheme://host[:port][/path]")
        if not _PREFIX.fullmatch(parts.path) or parts.path[1:].partition("/")[0] in DOORS:
            raise ValueError(
                "the path must be of letters, digits, '.', '_', '-', and begin with none of ours"
            )
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            parts = urlsplit(value)
            is_origin = f"{parts.scheme}://{parts.netloc}" == value and parts.scheme in ("http", "https")
            if value != "*" and not (is_origin and parts.hostname and value == value.lower()):
                raise ValueError("each must be scheme://host[:port] in lower case, or *")
        return values

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                zoneinfo.ZoneInfo(value)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError("must be an IANA time zone, such as Europe/Berlin") from None
        return value

    @model_validator(mode="after")
    def _open_only_on_loopback(self) -> "Settings":
        if not self.auth and not self.is_loopback:
            raise ValueError("auth can be off only when host is a loopback address")
        return self

    @model_validator(mode="after")
    def _tls_is_whole(self) -> "Settings":
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.tls is not None and not self.base.startswith("https:"):
            raise ValueError("public_base must be https: with tls_certificate")
        return self

    @model_validator(mode="after")
    def _registered_only_on_loopback(self) -> "Settings":
        if self.open_registration and not self.is_loopback:
            raise ValueError("open_registration needs a loopback address as host")
        return self

    @model_validator(mode="after")
    def _not_open_to_every_page(self) -> "Settings":
        if not self.auth and "*" in self.cors_origins:
            raise ValueError("cors_origins cannot be * without auth: any web page could read everything")
        return self

    @model_validator(mode="after")
    def _one_server_on_sqlite(self) -> "Settings":
        if self.server_workers > 1 and self.database.startswith("sqlite"):
            raise ValueError(
                "several server processes need PostgreSQL (database_url): SQLite has one writer, and they"
                " would only wait for each other"
            )
        return self

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOOPBACK_HOSTS

    @property
    def base(self) -> str:
        """The public base in force."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_base or f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def tls(self) -> TlsFiles | None:
        """What is served; None: plain HTTP."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        return TlsFiles(self.tls_certificate.absolute(), self.tls_key.absolute())

    @property
    def prefix(self) -> str:
        """The path of the public base, without a final slash; "" when it has none."""
        return urlsplit(self.base).path

    @property
    def hosts(self) -> frozenset[str]:
        """Host names that requests may carry, without ports."""
        own = urlsplit(self.base).hostname or self.host
        return LOOPBACK_HOSTS | {own, self.host, *self.allowed_hosts}

    @property
    def database(self) -> str:
        """The database URL in force."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data.absolute()}/isthmus.db"

    @property
    def database_limits(self) -> DatabaseLimits:
        """How much of the database one process takes."""
        return DatabaseLimits(self.database_connections, self.database_timeout_s)

    @property
    def site(self) -> Site:
        """The site's naming as the kernel's value."""
        return Site(
            self.site_patient_system,
            self.issuer_systems,
            self.timezone,
            self.create_patients,
            self.duplicates,
        )

    @property
    def tracing(self) -> TracingSettings | None:
        """Where traces go; None: nowhere."""
        return TracingSettings(self.otlp_endpoint, self.trace_ratio) if self.otlp_endpoint else None

    @property
    def viewer_folder(self) -> Path:
        """Where the web viewer is installed."""
        return self.viewer or self.data / "viewer"

    @property
    def retention(self) -> RetentionPolicy:
        """What goes by itself."""
        return RetentionPolicy(self.retention_rules, self.outbox_retention_days, self.audit_retention_days)

    @property
    def subscriptions(self) -> SubscriptionPolicy:
        """Where notifications may go, and the keys of their secrets."""
        return SubscriptionPolicy(
            self.subscription_outbound,
            self.subscription_attempts,
            keys=self.keyring("subscription headers"),
            without_token=not self.auth,
        )
