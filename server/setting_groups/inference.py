"""What a worker may use: how many studies at once, which devices, how much memory for its models."""

import re
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, field_validator

DEVICES = re.compile(r"auto|cpu|cuda:\d{1,3}(,cuda:\d{1,3})*")


class InferenceSettings(BaseModel):
    """Settings of `isthmus worker`."""

    worker_slots: int = Field(
        2, ge=1, le=16, description="studies that a worker has in hand at once, each in another stage"
    )
    models_memory_mb: int | None = Field(
        None,
        ge=64,
        description="what models that stay warm may declare together; default: three quarters of the machine",
    )
    devices: str = Field("auto", description="auto (the GPUs that are here), cpu, or cuda:N[,cuda:N…]")
    gpu_memory_mb: int | None = Field(
        None, ge=64, description="what models may declare on each GPU together; default: all that it has"
    )
    allow_pickled_weights: bool = Field(
        False, description="load PyTorch weights that are code, of models whose manifest asks for it"
    )

    inference_servers: dict[str, str] = Field(
        default_factory=dict, description="inference servers of models of the kind remote: name → base URL"
    )

    @field_validator("inference_servers")
    @classmethod
    def _are_urls(cls, servers: dict[str, str]) -> dict[str, str]:
        for url in servers.values():
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
                raise ValueError("must be http[s]://host[:port][/path]")
        return servers

    @field_validator("devices")
    @classmethod
    def _known(cls, devices: str) -> str:
        if not DEVICES.fullmatch(devices):
            raise ValueError("must be auto, cpu, or cuda:N, several divided by commas")
        return devices
