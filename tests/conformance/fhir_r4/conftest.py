"""The FHIR door over a real database, as the unit tests of the door have it."""

from tests.unit.fhir_door.conftest import (  # noqa: F401  fixtures
    client,
    confine,
    create,
    ids,
    offer,
    rights,
    services,
)
