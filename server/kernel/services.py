"""What every handler needs, built once by the roof and handed down."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement

from server.kernel.access import Narrowed
from server.kernel.cache import Cache, LocalCache
from server.kernel.clock import Clock, now_us
from server.kernel.database import Database
from server.kernel.envelope import Keyring
from server.kernel.object_store import ObjectStore
from server.kernel.read_audit import ReadAudit
from server.kernel.redis import RedisLink
from server.kernel.retention_policy import RetentionPolicy
from server.kernel.site import Site
from server.kernel.store_config import StoragePolicy
from server.kernel.subscription_policy import SubscriptionPolicy
from server.kernel.syslog_target import SyslogTarget
from server.kernel.wakeups import LocalWakeups, Wakeups

# Of each of these parts of a reach: whether it opens the study of this UID, by what the record says of it.
OpenByRecord = Callable[["Services", Sequence[Narrowed], ColumnElement[Any]], Sequence[ColumnElement[bool]]]


@dataclass(frozen=True, slots=True)
class Services:
    """The floor's services of one process."""

    database: Database
    objects: ObjectStore
    read_audit: ReadAudit
    public_base: str  # scheme://host[:port][/path] of every URL in answers, without a final slash
    site: Site = field(default_factory=Site)
    clock: Clock = now_us
    storage: StoragePolicy = field(default_factory=StoragePolicy)
    wakeups: Wakeups = field(default_factory=LocalWakeups)
    cache: Cache = field(default_factory=LocalCache)
    redis: RedisLink | None = None  # None: there is none
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    subscriptions: SubscriptionPolicy = field(default_factory=SubscriptionPolicy)
    audit_keys: Keyring | None = field(default=None, repr=False)  # None: the audit trail is not sealed
    open_by_record: OpenByRecord | None = None  # None: criteria of scopes open no studies
    syslog: SyslogTarget | None = None  # where the audit trail is forwarded to; None: nowhere
