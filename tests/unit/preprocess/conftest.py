import pytest
from pydicom import FileDataset

from ai_engine.phantom.series import small_series
from ai_engine.wants import Wants


@pytest.fixture(scope="session")
def _series() -> list[FileDataset]:
    return small_series()


@pytest.fixture
def series(_series: list[FileDataset]) -> list[FileDataset]:
    """24 slices from the feet upwards; the list may be changed, the slices not."""
    return list(_series)


@pytest.fixture
def wants() -> Wants:
    return Wants(modalities=("CT",), sop_classes=("CTImageStorage",), minimum_slices=10)
