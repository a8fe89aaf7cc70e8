"""Whatever strangers send to the DICOM door is taken, or refused with a fault: nothing else comes of it.

`tests/properties/fuzz/` says what is tried. The long run of `make test-all` takes as many examples as
`FUZZ_EXAMPLES` says; each run draws others.
"""

import os

import pytest

from tests.properties.fuzz import files, messages, metadata, searches, workitems
from tests.properties.fuzz.properties import Property

PROPERTIES = [
    each for module in (files, messages, metadata, searches, workitems) for each in module.PROPERTIES
]
BRIEF = 60
LONG = int(os.environ.get("FUZZ_EXAMPLES", "5000"))
every_property = pytest.mark.parametrize("tried", PROPERTIES, ids=lambda each: each.name)


@every_property
def test_briefly(tried: Property) -> None:
    tried.check(BRIEF)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@every_property
def test_for_long(tried: Property) -> None:
    tried.check(LONG)
