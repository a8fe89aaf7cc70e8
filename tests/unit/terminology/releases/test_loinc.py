"""LOINC: read from its files, asked by its parts and answer lists (FHIR R4 loinc.html)."""

from pathlib import Path

import pytest

from server.kernel.database import Database
from terminology.code_system import Filter, FilterOperator, Selection
from terminology.library import Kind
from terminology.loading.files import UnreadableRelease
from terminology.loading.loinc import read_release
from terminology.releases.kinds import RULES
from terminology.releases.loinc import LOINC, LoincValueSets
from terminology.releases.source import Releases
from terminology.releases.system import ReleasedCodeSystem
from terminology.releases.writer import write_release
from tests.asked_in_turn import asked_in_turn
from tests.unit.terminology.releases.made_up_loinc import TABLES, write_zip


@pytest.fixture
async def releases(database: Database, tmp_path: Path) -> Releases:
    with read_release(write_zip(tmp_path / "moon.zip")) as draft:
        await write_release(database, draft)
    return Releases(database, RULES)


@pytest.fixture
async def loinc(releases: Releases) -> ReleasedCodeSystem:
    (edition,) = await releases.editions(Kind.CODE_SYSTEM, LOINC)
    assert edition.version == "9.71"  # 9.9 is older
    system = await edition.open()
    assert isinstance(system, ReleasedCodeSystem)
    return system


async def test_a_term_has_parts_names_and_translations(loinc: ReleasedCodeSystem) -> None:
    found = await loinc.locate("1-8")
    assert found is not None
    assert found.display == "Moonshine, at night"
    assert {(each.language, each.value) for each in found.designations} == {
        ("en", "Moonshine"),
        ("de-DE", "Mondschein bei Nacht"),
    }
    said = {each.code: each.text for each in found.properties}
    assert said["COMPONENT"] == "LP1-1"
    assert (said["SYSTEM"], said["STATUS"], said["copyright"]) == ("Moon", "ACTIVE", "LOINC")
    green = await loinc.locate("3-4")
    assert green is not None
    assert green.display == 'Shade of "green"\nof the cheese'
    old = await loinc.locate("4-2")
    assert old is not None
    assert old.inactive


def test_what_panels_repeat_of_other_files_is_not_read(tmp_path: Path) -> None:
    repeated = {
        f"AccessoryFiles/PanelsAndForms/{name.rpartition('/')[2]}": table[:1]
        for name, table in TABLES.items()
        if "Answer" in name or name.endswith("/Loinc.csv")
    }
    tables = TABLES | repeated
    for order in (tables, dict(reversed(tables.items()))):
        with read_release(write_zip(tmp_path / "panels.zip", order)) as draft:
            assert {"1-8", "3-4", "LA1-2", "LA2-0", "LL1-9"} <= draft.index.keys()


@asked_in_turn(
    ("name", "operator", "value", "wanted"),
    [
        ("COMPONENT", FilterOperator.EQUALS, "LP2-9", {"2-6"}),
        ("COMPONENT", FilterOperator.EQUALS, "Cheese", {"2-6", "3-4"}),
        ("COMPONENT", FilterOperator.REGEX, "Ch.*", {"2-6", "3-4"}),
        ("STATUS", FilterOperator.EQUALS, "DEPRECATED", {"4-2"}),
        ("copyright", FilterOperator.EQUALS, "3rdParty", {"2-6"}),
        ("parent", FilterOperator.EQUALS, "LP2-9", {"2-6", "3-4"}),
        ("ancestor", FilterOperator.EQUALS, "LP9-0", {"LP1-1", "LP2-9", "1-8", "2-6", "3-4"}),
        ("child", FilterOperator.EQUALS, "1-8", {"LP1-1"}),
        ("concept", FilterOperator.IS_A, "LP1-1", {"LP1-1", "1-8"}),
        ("answers-for", FilterOperator.EQUALS, "3-4", {"LL1-9", "LA1-2", "LA2-0"}),
        ("answers-for", FilterOperator.EQUALS, "LL1-9", {"LA1-2", "LA2-0"}),
        ("answer-list", FilterOperator.EQUALS, "LL1-9", {"3-4"}),
        ("parent", FilterOperator.EQUALS, "LP0-0", set()),
    ],
)
async def test_filters(
    loinc: ReleasedCodeSystem, name: str, operator: FilterOperator, value: str, wanted: set[str]
) -> None:
    found = await loinc.select(Selection([Filter(name, operator, value)]))
    assert {each.code for each in found.concepts} == wanted


async def test_related_names_are_searched_too(loinc: ReleasedCodeSystem) -> None:
    found = await loinc.select(Selection(text="lunar cheese"))
    assert {each.code for each in found.concepts} == {"2-6", "3-4"}
    found = await loinc.select(Selection(text="mondsch"))
    assert {each.code for each in found.concepts} == {"1-8"}


async def test_implicit_value_sets(releases: Releases) -> None:
    source = LoincValueSets(releases)
    (all_of_it,) = await source.editions(Kind.VALUE_SET, "http://loinc.org/vs")
    assert (await all_of_it.open())["compose"]["include"] == [{"system": LOINC, "version": "9.71"}]
    (answers,) = await source.editions(Kind.VALUE_SET, "http://loinc.org/vs/LL1-9")
    (included,) = (await answers.open())["compose"]["include"]
    assert included["concept"] == [{"code": "LA1-2"}, {"code": "LA2-0"}]  # in the order of the list
    for url in ("http://loinc.org/vs/LL9-9", "http://loinc.org/vs/1-8", "http://example.org/vs"):
        assert not await source.editions(Kind.VALUE_SET, url)
    assert len(await source.listing(Kind.VALUE_SET)) == 1


def test_the_table_alone_is_enough(tmp_path: Path) -> None:
    only = {"LoincTable/Loinc.csv": TABLES["LoincTable/Loinc.csv"]}
    with read_release(write_zip(tmp_path / "Loinc_9.75.zip", only)) as draft:
        assert set(draft.index) == {"1-8", "2-6", "3-4", "4-2"}
        assert draft.read_header.version == "9.75"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        pytest.param({"Loinc": b"LOINC_NUM,X\n1-8,x\n"}, "Loinc.csv:1: there is no column", id="columns"),
        pytest.param(
            {"Part": b'PartNumber,PartName,PartTypeName,Status\n"LP1-1","x"\n'},
            "Part.csv:2: there are 2 columns",
            id="too few",
        ),
        pytest.param(
            {"Part": b'PartNumber,PartName,PartTypeName,Status\n"LP1-1","x'},
            "Part.csv:2: this is no CSV",
            id="cut off",
        ),
        pytest.param(
            {"Part": b"PartNumber,PartName,PartTypeName,Status\nLP1-1,\xff,a,b\n"},
            "Part.csv:2: byte 7 is not UTF-8",
            id="encoding",
        ),
        pytest.param({"Part": b""}, "Part.csv:1: there is no column", id="empty"),
    ],
)
def test_files_that_are_not_as_they_should_be(tmp_path: Path, broken: dict[str, bytes], says: str) -> None:
    with pytest.raises(UnreadableRelease, match=says):
        read_release(write_zip(tmp_path / "moon.zip", **broken))


def test_no_table_no_release(tmp_path: Path) -> None:
    with pytest.raises(UnreadableRelease, match="no file Loinc"):
        read_release(write_zip(tmp_path / "moon.zip", {"other.csv": [{"a": "b"}]}))
