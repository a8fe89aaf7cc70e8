"""SNOMED CT in the operations, on a made-up release (FHIR R4 snomedct.html)."""

from pathlib import Path
from typing import Any

import pytest

from server.kernel.database import Database
from terminology.expand import expand
from terminology.issues import TerminologyFault
from terminology.library import Library
from terminology.loading.rf2 import read_release
from terminology.lookup import lookup
from terminology.releases.kinds import RULES
from terminology.releases.source import Releases
from terminology.releases.writer import write_release
from terminology.sctid import check_digit
from terminology.snomed.implicit import SNOMED_CT, ImplicitDefinitions
from terminology.validate_code import validate_in_value_set
from tests.benchmarks.made_up_rf2 import CORE_MODULE, DATE, MadeUpRelease, write_rf2
from tests.conformance.fhir_r4.expanding import codes, in_context

Json = Any
VERSION = f"{SNOMED_CT}/{CORE_MODULE}/version/{DATE}"
UNKNOWN = "10200010" + check_digit("10200010")


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> tuple[MadeUpRelease, Library]:
    made = write_rf2(tmp_path, 80)
    with read_release(tmp_path) as draft:
        await write_release(database, draft)
    releases = Releases(database, RULES)
    return made, Library([releases, ImplicitDefinitions(releases)])


async def _expand(library: Library, **inputs: Json) -> Json:
    return await expand({name: [value] for name, value in inputs.items()}, library, in_context())


async def _is_valid(library: Library, **inputs: Json) -> bool:
    given = {name: [value] for name, value in inputs.items()}
    answer = await validate_in_value_set(given, library, in_context())
    return bool(next(each for each in answer["parameter"] if each["name"] == "result")["valueBoolean"])


async def test_what_is_expanded_is_valid(world: tuple[MadeUpRelease, Library]) -> None:
    made, library = world
    top, leaf = made.codes[1], made.codes[-1]
    urls = [
        f"?fhir_vs=isa/{top}",
        f"?fhir_vs=ecl/< {top} |A name| OR {leaf}",
        f"?fhir_vs=refset/{made.codes[made.refsets[1]]}",
    ]
    for url in urls:
        answer = await _expand(library, url=SNOMED_CT + url)
        found = codes(answer)
        assert answer["expansion"]["total"] == len(found) > 0
        used = {each.get("valueUri") for each in answer["expansion"]["parameter"]}
        assert f"{SNOMED_CT}|{VERSION}" in used
        for code in made.codes[:20]:
            given = {"url": SNOMED_CT + url, "system": SNOMED_CT, "code": code}
            assert await _is_valid(library, **given) == (code in found)


async def test_text_filter_and_pages(world: tuple[MadeUpRelease, Library]) -> None:
    made, library = world
    url = f"{SNOMED_CT}?fhir_vs=ecl/*"
    whole = codes(await _expand(library, url=url))
    first = await _expand(library, url=url, count=10)
    second = await _expand(library, url=url, count=10, offset=10)
    assert codes(first) + codes(second) == whole[:20]
    word = made.names[1].split()[0].lower()
    found = codes(await _expand(library, url=url, filter=word[:3]))
    assert made.codes[1] in found


async def test_what_makes_no_sense(world: tuple[MadeUpRelease, Library]) -> None:
    for query, code, what in (
        (f"?fhir_vs=isa/{UNKNOWN}", "not-found", "could not be found"),
        (f"?fhir_vs=ecl/<< {UNKNOWN}", "invalid", f"<< {UNKNOWN}"),
        ("?fhir_vs=ecl/<<", "invalid", "<<"),
        ("?fhir_vs=ecl/<< abc", "invalid", "<< abc"),
    ):
        with pytest.raises(TerminologyFault, match=what) as refused:
            await _expand(world[1], url=SNOMED_CT + query)
        assert refused.value.issues[0].code == code


async def test_lookup(world: tuple[MadeUpRelease, Library]) -> None:
    made, library = world
    answer = await lookup({"system": [SNOMED_CT], "code": [made.codes[-1]]}, library, in_context())
    told = {each["name"]: each for each in answer["parameter"]}
    assert told["display"]["valueString"] == made.names[-1]
    assert told["version"]["valueString"] == VERSION
    properties = [each["part"] for each in answer["parameter"] if each["name"] == "property"]
    names = {part["valueCode"] for parts in properties for part in parts if part["name"] == "code"}
    assert {"parent", "moduleId", "semanticTag", "sufficientlyDefined"} <= names
