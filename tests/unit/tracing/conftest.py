"""A collector of traces."""

from collections.abc import Iterator

import pytest

from server.kernel.tracing import TracingSettings, close_tracing, configure_tracing
from tests.services.otlp import Receiver, otlp_receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with otlp_receiver() as receiving:
        configure_tracing(TracingSettings(receiving.endpoint), "test")
        yield receiving
        close_tracing()
