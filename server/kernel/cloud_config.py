"""Where a cloud store is and how it is asked: one value for S3, Google Cloud Storage and Azure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

from server.kernel.faults import Fault


class StoreMisconfigured(Fault):
    """The settings of the object store contradict each other."""


class ServerSideEncryption(StrEnum):
    """What the server is asked to do with each object (S3 only; the others encrypt by themselves)."""

    AES256 = "AES256"  # SSE-S3
    KMS = "aws:kms"
    KMS_TWICE = "aws:kms:dsse"
    CUSTOMER_KEY = "sse-c"


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """A bucket or container, and the prefix of our objects in it; None: as the environment says."""

    url: str  # s3://bucket/prefix, gs://bucket/prefix, az://container/prefix
    endpoint: str | None = None
    region: str | None = None
    access_key: str | None = None  # S3: access key id; Azure: account name
    secret_key: str | None = None  # S3: secret access key; Azure: account key; GCS: service account JSON
    allow_http: bool = False
    encryption: ServerSideEncryption | None = None
    encryption_key: str | None = None  # KMS: the key's id; customer key: 256 bits in base64
    timeout_s: float = 30.0  # of one request
    retries: int = 3

    def of_provider(self) -> dict[str, object]:
        """The configuration in the provider's own names.

        Raises:
            StoreMisconfigured: it cannot be.
        """
        scheme = urlsplit(self.url).scheme
        if scheme not in _NAMES:
            raise StoreMisconfigured(f"the object store must be s3://, gs:// or az://, not {scheme}://")
        if self.encryption is not None and scheme != "s3":
            raise StoreMisconfigured(
                "server-side encryption is a setting of S3; others encrypt by themselves"
            )
        named = {theirs: getattr(self, ours) for ours, theirs in _NAMES[scheme].items()}
        return {key: value for key, value in (named | self._encryption()).items() if value is not None}

    def _encryption(self) -> dict[str, object]:
        if self.encryption is None:
            return {}
        key_name, needs_key = _KEY_OF[self.encryption]
        if needs_key is not None and needs_key != (self.encryption_key is not None):
            raise StoreMisconfigured(
                f"{self.encryption.value} {'needs an' if needs_key else 'takes no'} encryption key"
            )
        said: dict[str, object] = {"server_side_encryption": self.encryption.value}
        return said if key_name is None else said | {key_name: self.encryption_key}


_NAMES: Mapping[str, Mapping[str, str]] = {
    "s3": {
        "endpoint": "endpoint",
        "region": "region",
        "access_key": "access_key_id",
        "secret_key": "secret_access_key",
    },
    "gs": {"endpoint": "base_url", "secret_key": "service_account_key"},
    "az": {"endpoint": "endpoint", "access_key": "account_name", "secret_key": "account_key"},
}
# What its key is called, and whether there must be one; None: as one likes.
_KEY_OF: Mapping[ServerSideEncryption, tuple[str | None, bool | None]] = {
    ServerSideEncryption.AES256: (None, False),
    ServerSideEncryption.KMS: ("sse_kms_key_id", None),
    ServerSideEncryption.KMS_TWICE: ("sse_kms_key_id", None),
    ServerSideEncryption.CUSTOMER_KEY: ("sse_customer_key_base64", True),
}
