"""Where bytes lie, and what becomes of them there."""

from pydantic import Field, model_validator

from server.kernel.cloud_config import CloudConfig, ServerSideEncryption
from server.kernel.store_config import StoragePolicy, StoreConfig
from server.setting_groups.master_keys import MasterKeySettings


class ObjectSettings(MasterKeySettings):
    """The object store."""

    objects_url: str | None = Field(
        None, description="s3://bucket/prefix, gs://… or az://…; default: the data folder's objects/"
    )
    objects_endpoint: str | None = Field(None, description="URL of an S3-compatible server or an emulator")
    objects_region: str | None = Field(None, description="region of the bucket")
    objects_access_key: str | None = Field(None, description="access key id; Azure: account name")
    objects_secret_key: str | None = Field(
        None, description="secret access key; Azure: account key; Google: service account JSON"
    )
    objects_allow_http: bool = Field(False, description="whether the object store may be reached without TLS")
    objects_encryption: ServerSideEncryption | None = Field(
        None, description="server-side encryption of S3: AES256, aws:kms, aws:kms:dsse or sse-c"
    )
    objects_encryption_key: str | None = Field(
        None, description="KMS key id, or for sse-c 256 bits in base64"
    )
    objects_timeout_s: float = Field(30, gt=0, description="seconds until a request to the store has failed")
    objects_retries: int = Field(3, ge=0, description="how often such a request is tried again")
    encrypt_objects: bool = Field(False, description="whether objects are sealed before they are stored")
    pack_after_s: float = Field(
        900, ge=0, description="seconds without a new instance until a study's objects are packed"
    )
    remove_after_s: float = Field(
        3600, ge=0, description="seconds that objects which packing emptied stay, for reads under way"
    )
    scrub_mib_per_minute: int = Field(
        512, ge=0, description="how much the scrub reads of what is stored; 0: it does not run"
    )

    @model_validator(mode="after")
    def _shared_objects_have_a_shared_key(self) -> "ObjectSettings":
        if self.encrypt_objects and self.objects_url is not None and self.master_key is None:
            raise ValueError("encrypt_objects with objects_url needs master_key: every process must have it")
        return self

    @property
    def objects(self) -> StoreConfig:
        """The object store in force."""
        cloud = None
        if self.objects_url is not None:
            cloud = CloudConfig(
                self.objects_url,
                self.objects_endpoint,
                self.objects_region,
                self.objects_access_key,
                self.objects_secret_key,
                self.objects_allow_http,
                self.objects_encryption,
                self.objects_encryption_key,
                self.objects_timeout_s,
                self.objects_retries,
            )
        keys = self.derive_keys("object envelope")
        return StoreConfig(self.data / "objects", keys, self.encrypt_objects, cloud)

    @property
    def storage(self) -> StoragePolicy:
        """When stored objects are packed, removed and read again."""
        return StoragePolicy(self.pack_after_s, self.remove_after_s, self.scrub_mib_per_minute << 20)
