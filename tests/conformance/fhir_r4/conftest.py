"""The R4B models as a second judge of resources."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

from fhir.model.json_codec import encode_json


@pytest.fixture(scope="session")
def as_r4b() -> Callable[[dict[str, Any]], Any]:
    """Parse a resource with the R4B model of its type; raises when the model refuses it."""

    def parse(resource: dict[str, Any]) -> Any:
        kind = resource["resourceType"]
        model = getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind)
        return model.model_validate_json(encode_json(resource))

    return parse
