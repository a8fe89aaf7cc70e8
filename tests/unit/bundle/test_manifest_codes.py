"""The codes of manifests exist: those of the shipped models, and what is said of one that does not."""

import msgspec
import pytest

from ai_engine.bundle import BundleInvalid
from ai_engine.findings import Code
from server.workflows.manifest_codes import require_known_codes, unknown_codes
from server.workflows.models import shipped_bundles
from server.workflows.own_codes import code_system
from terminology.code_systems import GrammarSystems
from terminology.in_request import GivenDefinitions
from terminology.library import Library
from terminology.shipped import shipped

TERMS = Library([GivenDefinitions([code_system()]), shipped(), GrammarSystems()])
MANIFESTS = [bundle.manifest for bundle in shipped_bundles()]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: each.name)
async def test_shipped_models_speak_in_codes_that_exist(manifest: object) -> None:
    assert await unknown_codes(manifest, TERMS) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "is_known"),
    [
        pytest.param(Code("121070", "DCM", "Findings"), True, id="DCM"),
        pytest.param(Code("999999", "DCM", "Findings"), False, id="not in DCM"),
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


async def test_the_fault_names_the_codes() -> None:
    manifest = msgspec.structs.replace(MANIFESTS[0], family=Code("999999", "DCM", "Findings"))
    with pytest.raises(BundleInvalid, match=r"999999 \(DCM\)"):
        await require_known_codes(manifest, TERMS)
