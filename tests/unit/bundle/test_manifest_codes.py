"""The codes of manifests exist: those of the shipped models, and what is said of one that does not."""

from dataclasses import replace

import msgspec
import pytest
from structlog.testing import capture_logs

from ai_engine.findings import Code
from server.kernel.services import Services
from server.workflows import models
from server.workflows.manifest_codes import unknown_codes
from server.workflows.models import shipped_bundles
from server.workflows.own_codes import code_system
from terminology.code_systems import GrammarSystems
from terminology.in_request import GivenDefinitions
from terminology.library import Library
from terminology.shipped import shipped

TERMS = Library([GivenDefinitions([code_system()]), shipped(), GrammarSystems()])
UNKNOWN = Code("999999", "DCM", "Findings")
MANIFESTS = [bundle.manifest for bundle in shipped_bundles()]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: each.name)
async def test_shipped_models_speak_in_codes_that_exist(manifest: object) -> None:
    assert await unknown_codes(manifest, TERMS) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "is_known"),
    [
        pytest.param(Code("121070", "DCM", "Findings"), True, id="DCM"),
        pytest.param(UNKNOWN, False, id="not in DCM"),
        pytest.param(Code("laa-951", "99ISTHMUS", "Lungs"), False, id="not in 99ISTHMUS"),
        pytest.param(Code("mm3", "UCUM", "mm3"), True, id="unit"),
        pytest.param(Code("cubic mm", "UCUM", "mm3"), False, id="no unit"),
        pytest.param(Code("1", "SCT", "Lung"), True, id="of SNOMED CT only a part ships: it cannot be told"),
        pytest.param(Code("x", "99OTHER", "Lung"), True, id="a scheme that nobody here knows"),
    ],
)
async def test_a_code_of_a_family(code: Code, is_known: bool) -> None:
    manifest = msgspec.structs.replace(MANIFESTS[0], family=code)
    assert (await unknown_codes(manifest, TERMS) == []) is is_known


async def test_a_release_without_a_models_codes_does_not_keep_the_server_from_starting(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = shipped_bundles()[0]
    strange = replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, family=UNKNOWN))
    monkeypatch.setattr(models, "shipped_bundles", lambda: (strange,))
    with capture_logs() as logs:
        await models.register_shipped(services.database)
        await models.register_shipped(services.database)
    assert [each["code"] for each in logs if each["event"] == "model speaks in an unknown code"] == ["999999"]
