"""Units and language tags: whatever is asked for, the answers hold together (UCUM §§18-20; RFC 5646 §2.1)."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from terminology.code_systems import languages
from terminology.code_systems.ucum_units import find_unit, units

ATOMS = sorted(units().names)
SIMPLE = st.builds(
    lambda atom, power: atom + power, st.sampled_from(ATOMS), st.sampled_from(["", "2", "-1", "+3"])
)
TERMS = st.recursive(
    SIMPLE,
    lambda inner: st.builds(lambda a, sign, b: f"({a}){sign}({b})", inner, st.sampled_from("./"), inner),
    max_leaves=4,
)
PIECES = st.sampled_from(
    [*ATOMS[:40], "k", "m", "10*", "(", ")", ".", "/", "{a}", "{", "-", "2", "0", "é", " "]
)


@given(st.lists(PIECES, max_size=12).map("".join) | st.text("mkg./(){}10*é²", max_size=30))
@settings(max_examples=100)
def test_any_text_is_a_unit_or_is_none(code: str) -> None:
    found = find_unit(code)
    assert found is None or (found.code == code and 0 not in found.dimensions.values())


@given(TERMS, TERMS)
@settings(max_examples=60)
def test_dimensions_of_products_and_quotients_add_up(left: str, right: str) -> None:
    product, quotient = find_unit(f"({left}).({right})"), find_unit(f"({left})/({right})")
    one, other = find_unit(left), find_unit(right)
    assert None not in (product, quotient, one, other)
    assert product.dimensions == _sum(one.dimensions, other.dimensions, 1)
    assert quotient.dimensions == _sum(one.dimensions, other.dimensions, -1)
    same = find_unit(f"({left})/({left})")
    assert same is not None
    assert same.canonical == "1"


@given(TERMS)
@settings(max_examples=60)
def test_the_canonical_form_of_a_unit_is_a_unit_that_measures_the_same(code: str) -> None:
    unit = find_unit(code)
    assert unit is not None
    canonical = find_unit(unit.canonical)
    assert canonical is not None
    assert (canonical.dimensions, canonical.canonical) == (unit.dimensions, unit.canonical)


def _sum(one: dict[str, int], other: dict[str, int], sign: int) -> dict[str, int]:
    found = Counter(one)
    for base, power in other.items():
        found[base] += sign * power
    return {base: power for base, power in found.items() if power}


TAGS = st.lists(
    st.sampled_from(
        ["en", "zh", "cmn", "Hant", "US", "419", "1996", "rozaj", "a", "bb", "x", "own", "i", "?"]
    ),
    max_size=7,
).map("-".join)


@given(TAGS | st.text("-aeinxzUS1", max_size=20))
@settings(max_examples=100)
def test_a_tag_as_it_is_written_is_the_same_tag_in_any_case(tag: str) -> None:
    found = languages.read(tag)
    if found is not None:
        assert found.code.lower() == tag.lower()
        for again in (found.code, tag.upper(), tag.lower()):
            assert languages.read(again) == found
