"""UCUM as a code system (ucum.org/ucum 2.2; FHIR R4 ucum.html)."""

import csv
import io
import zipfile

import pytest

from terminology.canonical import Canonical
from terminology.code_system import Filter, FilterOperator, Selection
from terminology.code_systems import GrammarSystems
from terminology.code_systems.ucum import read
from terminology.code_systems.ucum_units import (
    MAX_CODE_CHARACTERS,
    MAX_NESTING,
    NotAUnit,
    find_unit,
    read_unit,
    units,
)
from terminology.issues import InvalidFilter, TooCostly
from terminology.library import Kind, Library
from terminology.shipped import shipped
from tools import pinned, terminology_registries

UCUM = "http://unitsofmeasure.org"


async def ucum():
    edition = await Library([GrammarSystems()]).find(Kind.CODE_SYSTEM, Canonical(UCUM))
    assert edition is not None
    return await edition.open()


@pytest.mark.parametrize(
    ("code", "canonical"),
    [
        ("m", "m"),
        ("mm", "m"),
        ("1", "1"),
        ("100", "1"),
        ("%", "1"),
        ("10*-3", "1"),
        ("10^3", "1"),
        ("m/m", "1"),
        ("/m", "m-1"),
        ("/m/s", "m-1.s-1"),
        ("m2.m-2", "1"),
        ("m+2", "m2"),
        ("N", "g.m.s-2"),
        ("Pa", "g.m-1.s-2"),
        ("mm[Hg]", "g.m-1.s-2"),
        ("mg/dL", "g.m-3"),
        ("mmol/l", "m-3"),
        ("L", "m3"),
        ("cal_[15]", "g.m2.s-2"),
        ("g/(8.h)", "g.s-1"),
        ("kg/(m.s2)", "g.m-1.s-2"),
        ("kg/m.s2", "g.m-1.s2"),
        ("((m))", "m"),
        ("dar", "m2"),
        ("cd", "cd"),
        ("min", "s"),
        ("ft[lbf_av]", None),
        ("[ft_i].[lbf_av]", "g.m2.s-2"),
        ("[in_i'H2O]", "g.m-1.s-2"),
        ("[m/s2/Hz^(1/2)]", "m2.s-3"),
        ("Cel", "K"),
        ("mCel", "K"),
        ("[degF]", "K"),
        ("[pH]", "m-3"),
        ("B[10.nV]", "C-1.g.m2.s-2"),
        ("[iU]/mL", "[iU].m-3"),
        ("[IU]/mL", "[iU].m-3"),
        ("[arb'U]", "[arb'U]"),
        ("{cells}/uL", "m-3"),
        ("10*6/uL{cells}", "m-3"),
        ("m{any text 1/2(}", "m"),
        ("100{cells}", "1"),
        ("g/(8.h){shift}", "g.s-1"),
    ],
)
def test_dimensions_in_base_units(code: str, canonical: str | None) -> None:
    """§§18-20: units are products of powers of the seven base units."""
    found = find_unit(code)
    assert (found and found.canonical) == canonical


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("", id="empty"),
        pytest.param("M", id="case counts, §3"),
        pytest.param("KG", id="case counts in prefixes"),
        pytest.param("mgg", id="two units without an operator"),
        pytest.param("2mg", id="a factor without an operator"),
        pytest.param("0", id="a factor of nothing"),
        pytest.param("01", id="a factor that begins with nothing"),
        pytest.param("-1", id="a sign without a unit"),
        pytest.param("m0", id="the power of nothing"),
        pytest.param("m-", id="a sign without digits"),
        pytest.param("m100", id="an absurd exponent"),
        pytest.param("mm2m", id="nothing between units"),
        pytest.param("m/", id="nothing behind the operator"),
        pytest.param("m.", id="nothing behind the point"),
        pytest.param(".m", id="nothing before the point"),
        pytest.param("//m", id="two operators"),
        pytest.param("m//s", id="two operators within"),
        pytest.param("m*s", id="no operator of UCUM"),
        pytest.param("m s", id="a space"),
        pytest.param(" m", id="a space before"),
        pytest.param("m\n", id="a line's end"),
        pytest.param("(m", id="an open parenthesis"),
        pytest.param("m)", id="nothing was opened"),
        pytest.param("(m/s)2", id="the power of a parenthesis, §9.1"),
        pytest.param("()", id="an empty parenthesis"),
        pytest.param("(/m)", id="an inversion within, §7.4"),
        pytest.param("m{", id="an open annotation"),
        pytest.param("m}", id="no annotation was opened"),
        pytest.param("m{a{b}}", id="an annotation in one, §6"),
        pytest.param("m{µ}", id="an annotation beyond ASCII, §6.2"),
        pytest.param("{a}m", id="a unit behind an annotation"),
        pytest.param("µm", id="the sign for micro"),
        pytest.param("m²", id="a raised 2"),
        pytest.param("m2\u0660", id="digits of Arabic"),
        pytest.param("k[degF]", id="a prefix before a unit that has none, §11"),
        pytest.param("kmin", id="a prefix before minutes"),
        pytest.param("kkg", id="two prefixes"),
        pytest.param("k", id="a prefix alone"),
        pytest.param("degrees", id="a word"),
    ],
)
def test_what_is_no_unit(code: str) -> None:
    assert find_unit(code) is None


def test_where_it_went_wrong_is_told() -> None:
    with pytest.raises(NotAUnit, match="no unit at character 3"):
        read_unit("m.?")
    with pytest.raises(NotAUnit, match="unexpected at character 2"):
        read_unit("m)")


def test_every_unit_of_the_table_is_one_and_every_metric_one_takes_every_prefix() -> None:
    """§11.1: only metric units are combined with a prefix."""
    table = units()
    for code in table.names:
        unit = find_unit(code)
        assert unit is not None, code
        assert unit.dimensions == table.dimensions(code)
        assert unit.kind == table.properties[code]
        prefixed = [find_unit(f"{prefix}{code}") for prefix in table.prefixes]
        like_it = [each for each in prefixed if each and each.name.endswith(table.names[code] + ")")]
        assert len(like_it) == (len(table.prefixes) if code in table.metric else 0), code
        assert all(each.dimensions == unit.dimensions for each in like_it)


async def test_hl7s_common_units_are_units() -> None:
    (edition,) = await shipped().editions(Kind.VALUE_SET, "http://hl7.org/fhir/ValueSet/ucum-common")
    concepts = (await edition.open())["compose"]["include"][0]["concept"]
    assert len(concepts) > 1_300
    assert [each["code"] for each in concepts if find_unit(each["code"]) is None] == []


def test_ucums_examples_are_units_where_they_are_at_hand() -> None:
    """Its table of examples for electronic messaging; `Torr` is in it, and in no table of units."""
    if pinned.is_cached(terminology_registries.UCUM):
        wheel = io.BytesIO(pinned.read(terminology_registries.UCUM))
        text = zipfile.ZipFile(wheel).read("ucumvert/vendor/ucum_examples.tsv").decode()
        codes = [row[1] for row in csv.reader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE)][1:]
        assert len(codes) > 800
        assert [code for code in codes if find_unit(code) is None] == ["Torr"]


@pytest.mark.parametrize(
    "code",
    [
        "(" * 200 + "m" + ")" * 200,
        "(" * 299,
        "{" * 300,
        "m" * 300,
        "1" * 301,
        "[" * 300,
        "10*" * 100,
        "m.s/" * 75,
    ],
)
def test_hostile_codes_are_refused_in_no_time(code: str) -> None:
    assert find_unit(code) is None


def test_a_code_is_not_longer_than_the_limit() -> None:
    long = "m" + ".m" * (MAX_CODE_CHARACTERS // 2 - 1)
    found = find_unit(long)
    assert found is not None
    assert found.dimensions == {"m": MAX_CODE_CHARACTERS // 2}
    assert find_unit(long + ".m" * 2) is None


def test_parentheses_are_not_nested_deeper_than_the_limit() -> None:
    assert find_unit("(" * MAX_NESTING + "m" + ")" * MAX_NESTING) is not None
    assert find_unit("(" * (MAX_NESTING + 1) + "m" + ")" * (MAX_NESTING + 1)) is None


def test_what_is_remembered_is_bounded() -> None:
    for n in range(1, 11_001):
        read(f"m{{{n}}}")
    assert read.cache_info().currsize == read.cache_info().maxsize


async def test_a_unit_as_a_concept() -> None:
    unit = await (await ucum()).locate("mg/dL")
    assert (unit.code, unit.display) == ("mg/dL", "mg/dL")
    assert [(each.value, each.language) for each in unit.designations] == [
        ("(milligram) / (deciliter)", "en"),
        ("milligram per deciliter", "en"),
    ]
    assert [(each.code, each.value) for each in unit.properties] == [("canonical", "g.m-3")]
    assert await (await ucum()).locate("kgXX") is None


async def test_several_at_once() -> None:
    assert list(await (await ucum()).locate_all(["kg", "kgXX", "cm"])) == ["kg", "cm"]


@pytest.mark.parametrize(
    ("name", "operator", "value", "let_through", "kept_out"),
    [
        ("canonical", "=", "m", ["km", "[in_i]", "m3/m2"], ["m2", "s", "nothing"]),
        ("canonical", "=", "a", ["ms", "wk", "/Hz"], ["Hz"]),
        ("canonical", "=", "g", ["kg", "[lb_av]"], ["mL"]),
        ("property", "=", "mass", ["kg", "mg", "[lb_av]"], ["mg/mL", "m"]),
        ("property", "exists", "true", ["kg"], ["mg/mL"]),
        ("code", "in", "kg,mg", ["kg", "mg"], ["g"]),
        ("code", "regex", "[kc]?m", ["km", "cm", "m"], ["mm"]),
        ("display", "=", "kg", ["kg"], ["g"]),
    ],
)
async def test_filters(
    name: str, operator: str, value: str, let_through: list[str], kept_out: list[str]
) -> None:
    asked = Filter(name, FilterOperator(operator), value)
    system = await ucum()
    assert [
        code for code in (*let_through, *kept_out) if await system.lets_through(code, (asked,))
    ] == let_through


@pytest.mark.parametrize(
    ("name", "operator", "value"),
    [
        ("canonical", "=", "nothing"),
        ("colour", "=", "m"),
        ("concept", "is-a", "m"),
        ("code", "child-of", "m"),
    ],
)
async def test_a_filter_that_makes_no_sense_is_refused(name: str, operator: str, value: str) -> None:
    with pytest.raises(InvalidFilter):
        await (await ucum()).lets_through("m", (Filter(name, FilterOperator(operator), value),))


async def test_a_grammar_has_no_list() -> None:
    system = await ucum()
    length = Filter("canonical", FilterOperator.EQUALS, "m")
    for filters in ((), (length,)):
        with pytest.raises(TooCostly, match="without number"):
            await system.select(Selection(filters))
    with pytest.raises(TooCostly):
        await system.children(None)


async def test_what_a_filter_names_is_a_list() -> None:
    named = Filter("code", FilterOperator.IN, "km, s,cm,nothing,km")
    length = Filter("canonical", FilterOperator.EQUALS, "m")
    found = await (await ucum()).select(Selection((length, named), offset=1, limit=5))
    assert ([each.code for each in found.concepts], found.total) == (["cm"], 2)
    found = await (await ucum()).select(Selection((named,), text="sec"))
    assert [each.code for each in found.concepts] == ["s"]


async def test_nothing_lies_below_a_unit() -> None:
    system = await ucum()
    assert await system.subsumes("m", "m")
    assert not await system.subsumes("m", "km")
    assert list(await system.parents("m")) == list(await system.children("m")) == []
