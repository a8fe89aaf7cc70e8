"""FHIRPath N1: the specification's own examples and rules, section by section."""

from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest

from fhir.fhirpath import EvaluationFailed, InvalidExpression, Item, TooCostly, compile_expression
from fhir.fhirpath.environment import NOTHING_MORE, Context
from fhir.fhirpath.lexer import MAX_CHARACTERS
from fhir.fhirpath.operators import MAX_TEXT_CHARACTERS
from fhir.fhirpath.quantity import Quantity
from fhir.fhirpath.temporal import Temporal, read_temporal

PATIENT = {
    "resourceType": "Patient",
    "id": "p",
    "active": True,
    "gender": "male",
    "birthDate": "1974-12-25",
    "_birthDate": {"extension": [{"url": "http://e.org/time", "valueDateTime": "1974-12-25T14:35:45-05:00"}]},
    "deceasedBoolean": False,
    "name": [
        {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]},
        {"use": "usual", "given": ["Jim"]},
        {"use": "maiden", "family": "Windsor", "given": ["Peter", "James"], "period": {"end": "2002"}},
    ],
    "telecom": [{"use": "home"}, {"system": "phone", "value": "(03) 5555 6473", "rank": 1}],
    "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
    "managingOrganization": {"reference": "#o"},
    "generalPractitioner": [{"reference": "Practitioner/1"}],
}
OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]},
    "valueQuantity": {"value": Decimal("185.0"), "unit": "lbs", "code": "[lb_av]"},
    "referenceRange": [
        {"low": {"value": Decimal("1.00"), "system": "http://unitsofmeasure.org", "code": "kg"}}
    ],
}


def plain(value: Any) -> Any:
    return value.value if isinstance(value, Item) else value


def run(expression: str, resource: Any = PATIENT, context: Context = NOTHING_MORE) -> list[Any]:
    return [plain(value) for value in compile_expression(expression).evaluate(resource, context)]


TABLE: dict[str, list[tuple[str, list[Any]]]] = {
    "3.1 paths": [
        ("Patient.name.given", ["Peter", "James", "Jim", "Peter", "James"]),
        ("name.given[1]", ["James"]),
        ("Observation.status", []),
        ("Patient.name.nothing", []),
        ("`name`.`given`.first()", ["Peter"]),
        ("(name.given)[2]", ["Jim"]),
        ("name[0].given.last() // comment", ["James"]),
        ("DomainResource.id | /* comment */ Resource.id", ["p"]),
    ],
    "4.1 literals": [
        ("'a\\'b\\u0041\\n'", ["a'bA\n"]),
        ("1.50", [Decimal("1.50")]),
        ("true and true", [True]),
        ("{}", []),
        ("4 days", [Quantity(Decimal(4), "day")]),
        ("10 'mg'", [Quantity(Decimal(10), "mg")]),
    ],
    "4.5 singletons": [
        ("Patient.active and Patient.gender and Patient.telecom.where(use = 'home')", [True]),
        ("name.first().family + ', ' + name.first().given.first()", ["Chalmers, Peter"]),
    ],
    "5.1 existence": [
        ("name.empty()", [False]),
        ("contact.exists()", [False]),
        ("name.exists(use = 'official')", [True]),
        ("name.all(given.exists())", [True]),
        ("contact.all(false)", [True]),
        ("(true | false).allTrue()", [False]),
        ("(true | false).anyTrue()", [True]),
        ("(false).allFalse()", [True]),
        ("(true | false).anyFalse()", [True]),
        ("name.given.subsetOf('Peter' | 'James' | 'Jim')", [True]),
        ("name.given.supersetOf('Jim' | 'Ann')", [False]),
        ("name.count()", [3]),
        ("name.given.distinct().count()", [3]),
        ("name.given.isDistinct()", [False]),
    ],
    "5.2 filtering": [
        ("name.where(use = 'usual').given", ["Jim"]),
        ("name.select(given.count())", [2, 1, 2]),
        ("name.select($index)", [0, 1, 2]),
        ("Patient.repeat(children()).count() = Patient.descendants().distinct().count()", [True]),
        ("deceased.ofType(boolean)", [False]),
        ("deceased.ofType(dateTime)", []),
        ("contained.ofType(Organization).name", ["O"]),
    ],
    "5.3 subsetting": [
        ("name.given.single()", None),
        ("gender.single()", ["male"]),
        ("name.given.tail().count()", [4]),
        ("name.given.skip(3)", ["Peter", "James"]),
        ("name.given.take(2)", ["Peter", "James"]),
        ("(1 | 2 | 3).intersect(2 | 4)", [2]),
        ("(1 | 2 | 3).exclude(2)", [1, 3]),
        ("name[7]", []),
        ("name[-1]", []),
    ],
    "5.4 combining": [
        ("(1 | 1.0).count()", [1]),
        ("(1 | 2).combine(2 | 3).count()", [4]),
        ("name.select(use.union(given)).count()", [8]),
    ],
    "5.5 conversion": [
        ("iif(active, 'yes', 'no')", ["yes"]),
        ("iif(contact.exists(), 'yes')", []),
        ("'17'.toInteger()", [17]),
        ("'x'.toInteger()", []),
        ("'1.10'.toDecimal()", [Decimal("1.10")]),
        ("1.10.toString()", ["1.10"]),
        ("'true'.toBoolean()", [True]),
        ("'maybe'.convertsToBoolean()", [False]),
        ("'2012'.toDate()", [Temporal("date", (2012,), "2012")]),
        ("'2012-13'.convertsToDate()", [False]),
        ("'10:30'.convertsToTime()", [True]),
        ("'4 \\'mg\\''.toQuantity()", [Quantity(Decimal(4), "mg")]),
        ("birthDate.toString()", ["1974-12-25"]),
        ("@2015-02-04T14:34:28Z.toDate()", [Temporal("date", (2015, 2, 4), "2015-02-04")]),
    ],
    "5.6 strings": [
        ("'abcdefg'.indexOf('bc')", [1]),
        ("'abcdefg'.indexOf('x')", [-1]),
        ("'abcdefg'.substring(3)", ["defg"]),
        ("'abcdefg'.substring(1, 2)", ["bc"]),
        ("'abcdefg'.substring(7)", []),
        ("'abcdefg'.startsWith('abc')", [True]),
        ("'abcdefg'.endsWith('abc')", [False]),
        ("'abcdefg'.contains('cd')", [True]),
        ("'abc'.upper()", ["ABC"]),
        ("'abc'.replace('b', '')", ["ac"]),
        ("'11/30/1972'.replaceMatches('(\\\\d+)/(\\\\d+)/(\\\\d+)', '$2-$1-$3')", ["30-11-1972"]),
        ("'abc'.matches('^a')", [True]),
        ("'abc'.matchesFull('a')", [False]),
        ("'t2'.toChars()", ["t", "2"]),
        ("'abc'.length()", [3]),
        ("'a,b'.split(',').join('-')", ["a-b"]),
        ("{}.length()", []),
    ],
    "5.7 math": [
        ("(-5).abs()", [5]),
        ("1.1.ceiling()", [2]),
        ("(-1.6).floor()", [-2]),
        ("(-1.56).truncate()", [-1]),
        ("3.14159.round(3)", [Decimal("3.142")]),
        ("16.sqrt()", [4]),
        ("(-1).sqrt()", []),
        ("2.power(3)", [8]),
        ("(-1).power(0.5)", []),
        ("16.log(2)", [4]),
        ("1.ln()", [0]),
        ("0.ln()", []),
        ("0.log(10)", []),
    ],
    "6.1 equality": [
        ("name.given = name.given", [True]),
        ("(1 | 2) = (1 | 2 | 3)", [False]),
        ("{} = 1", []),
        ("1 = 1.0", [True]),
        ("true = 1", [False]),
        ("@2012 = @2012", [True]),
        ("@2012 = @2013", [False]),
        ("@2012-01 = @2012", []),
        ("@2012-01-01T10:30:31.0 = @2012-01-01T10:30:31", [True]),
        ("@2012-01-01T10:30:00Z = @2012-01-01T11:30:00+01:00", [True]),
        ("4 'g' = 4000 'mg'", [True]),
        ("1 week = 7 days", [True]),
        ("'abc' ~ 'ABC'", [True]),
        ("(1 | 2) ~ (2 | 1)", [True]),
        ("{} ~ {}", [True]),
        ("0.67 ~ 0.671", [True]),
        ("'a' != 'b'", [True]),
        ("'a' !~ 'A'", [False]),
        ("birthDate = @1974-12-25", [True]),
    ],
    "6.2 comparison": [
        ("10 > 5.0", [True]),
        ("'abc' < 'abd'", [True]),
        ("@2018-03 > @2018-03-01", []),
        ("@2018-03-02 > @2018-03-01", [True]),
        ("@T10:30 <= @T10:30", [True]),
        ("1 'kg' > 2 'g'", [True]),
        ("1 'kg' > 2 'm'", []),
        ("{} > 1", []),
        ("1 > 'a'", None),
    ],
    "6.3 types": [
        ("Patient is DomainResource", [True]),
        ("gender is code", [True]),
        ("gender is string", [True]),
        ("gender is System.String", [False]),
        ("1 is Integer", [True]),
        ("1 is System.Decimal", [False]),
        ("active is FHIR.boolean", [True]),
        ("(deceased as boolean).not()", [True]),
        ("name.is(HumanName)", None),
    ],
    "6.4 collections": [
        ("'Jim' in name.given", [True]),
        ("name.given contains 'Ann'", [False]),
        ("{} in name.given", []),
    ],
    "6.5 logic": [
        ("{} and false", [False]),
        ("{} and true", []),
        ("{} or true", [True]),
        ("{} or false", []),
        ("true xor {}", []),
        ("false implies {}", [True]),
        ("{} implies true", [True]),
        ("{} implies false", []),
        ("{}.not()", []),
        ("true xor false or false and false", [True]),
    ],
    "6.6 arithmetic": [
        ("2 * 3.0", [Decimal("6.0")]),
        ("1 / 0", []),
        ("5 div 2", [2]),
        ("-5 div 2", [-2]),
        ("5 mod 2", [1]),
        ("1 + 2 * 3", [7]),
        ("'a' & {} & 'b'", ["ab"]),
        ("'a' + {}", []),
        ("0.1 + 0.2 = 0.3", [True]),
        ("@1974-12-25 + 7 days", [Temporal("date", (1975, 1, 1), "1975-01-01")]),
        ("@2016-02-29 + 1 year", [Temporal("date", (2017, 2, 28), "2017-02-28")]),
        ("@2012-03 - 1 month", [Temporal("date", (2012, 2), "2012-02")]),
        ("@T23:30 + 1 hour = @T00:30", [True]),
        ("1 + 'a'", None),
    ],
    "7 aggregates": [
        ("(1 | 2 | 3).aggregate($this + $total, 0)", [6]),
        ("(1 | 2 | 3).aggregate(iif($total.empty(), $this, iif($this < $total, $this, $total)))", [1]),
    ],
    "FHIR": [
        ("birthDate.extension('http://e.org/time').value is dateTime", [True]),
        ("birthDate.hasValue()", [True]),
        ("contact.hasValue()", [False]),
        ("gender.getValue()", ["male"]),
        ("managingOrganization.resolve().name", ["O"]),
        ("generalPractitioner.resolve()", []),
        ("%ucum", ["http://unitsofmeasure.org"]),
        ("%resource.id | %context.id | %rootResource.id", ["p"]),
        ("contained.name.where(%resource is Patient).count()", [1]),
        ("%`vs-administrative-gender`", ["http://hl7.org/fhir/ValueSet/administrative-gender"]),
        ("%nothing", None),
        ("gender.memberOf('http://e.org')", []),
        ("trace('x').gender", ["male"]),
        ("today()", None),
    ],
}
CASES = [
    pytest.param(expression, expected, id=f"{section}: {expression}")
    for section, rows in TABLE.items()
    for expression, expected in rows
]


@pytest.mark.parametrize(("expression", "expected"), CASES)
def test_an_expression_has_its_value(expression: str, expected: list[Any] | None) -> None:
    if expected is None:
        with pytest.raises(EvaluationFailed):
            run(expression)
    else:
        found = run(expression)
        assert found == expected
        assert [type(value) is bool for value in found] == [type(value) is bool for value in expected]


@pytest.mark.parametrize(
    "text",
    ["", "name.", "name..given", "(name", "name)", "'a", "1 +", "name.nofunction()", "where()", "@2012-13",
     "name is Nonsense", "$that", "a ! b", "name.ofType(1)", "{1}", "(" * 150 + "1" + ")" * 150,
     "a" * (MAX_CHARACTERS + 1)],
)  # fmt: skip
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(InvalidExpression):
        compile_expression(text)


def test_decimals_keep_their_digits() -> None:
    assert str(run("value.value", OBSERVATION)[0]) == "185.0"
    assert run("referenceRange.low.value.toString()", OBSERVATION) == ["1.00"]
    assert run("referenceRange.low = 1000.0 'g'", OBSERVATION) == [True]


def test_a_choice_is_one_element_by_its_name() -> None:
    assert run("Observation.value.unit", OBSERVATION) == ["lbs"]
    assert run("Observation.valueQuantity", OBSERVATION) == []
    assert run("Observation.value.ofType(Quantity).unit", OBSERVATION) == ["lbs"]


def test_an_item_says_where_it_is() -> None:
    (item,) = compile_expression("name[2].given[1]").evaluate(PATIENT)
    assert item.path() == "Patient.name[2].given[1]"


def test_the_caller_resolves_and_tells_the_time() -> None:
    around = Context(
        resolve=lambda url: {"resourceType": "Practitioner", "id": url},
        now=read_temporal("2026-11-26T01:02:03Z"),
    )
    assert run("generalPractitioner.resolve().id", PATIENT, around) == ["Practitioner/1"]
    assert run("birthDate < today()", PATIENT, around) == [True]
    assert run("timeOfDay() = @T01:02:03", PATIENT, around) == [True]
    stubs = Context(stub_references=True)
    assert run("generalPractitioner.where(resolve() is Practitioner).count()", PATIENT, stubs) == [1]


def test_a_bundle_resolves_within_itself() -> None:
    bundle = {
        "resourceType": "Bundle",
        "entry": [
            {"fullUrl": "urn:uuid:1", "resource": {"resourceType": "Patient", "id": "x"}},
            {"resource": {"resourceType": "Observation", "subject": {"reference": "urn:uuid:1"}}},
        ],
    }
    assert run("entry.resource.ofType(Observation).subject.resolve().id", bundle) == ["x"]


def test_the_work_has_an_end() -> None:
    with pytest.raises(TooCostly):
        run("descendants().descendants().descendants()", PATIENT, Context(steps=100))


HOSTILE = [
    "descendants().aggregate($total & $total, 'xxxxxxxxxx')",
    "descendants().aggregate($total + $total, 'xx')",
    "descendants().repeat('x' & $this.toString())",
    "'x'.repeat('x' & $this)",
    "id" + ".replace('p', 'xxxxxxxxxx')" + ".replace('x', 'xxxxxxxxxx')" * 12,
    "id" + ".replaceMatches('.', '$0$0$0$0$0$0$0$0')" * 12,
    "descendants().where(%resource.descendants().where($this in %resource.descendants()).exists()).exists()",
    "descendants().where($this.descendants().intersect(%resource.descendants()).exists()).exists()",
]


@pytest.mark.parametrize("expression", HOSTILE)
def test_a_hostile_expression_ends(expression: str) -> None:
    with suppress(EvaluationFailed):
        found = run(expression, PATIENT, Context(steps=200_000))
        assert all(len(str(value)) <= MAX_TEXT_CHARACTERS for value in found)


def test_integers_do_not_grow_without_end() -> None:
    assert run("descendants().aggregate($total * $total, 3)") == []
    assert run("10.power(9999)") == []


def test_what_does_not_depend_on_the_item_is_computed_once() -> None:
    once = "descendants().where(%resource.descendants().count() > 0).count() > 10"
    assert run(once, PATIENT, Context(steps=2_000)) == [True]
    assert run("(1 | 2).aggregate(%resource.select($total).first() + $this, 1)") == [4]
    assert run("(1 | 2).select(%resource.name.select($index).count() + $this)") == [4, 5]


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*(b|b)*(c|c)*", "(.*)*", "a" * 201, "("])
def test_a_client_sends_no_pattern_that_takes_long(pattern: str) -> None:
    with pytest.raises(InvalidExpression):
        compile_expression(f"name.family.matches('{pattern}')", trusted=False)


def test_a_client_may_send_a_simple_pattern() -> None:
    assert compile_expression("name.family.matches('^[A-Z][a-z]{1,8}$')", trusted=False).holds(
        {**PATIENT, "name": [{"family": "Chalmers"}]}
    )
    with pytest.raises(InvalidExpression):
        compile_expression("name.family.matches(id)", trusted=False)


@pytest.mark.parametrize("junk", [7, None, [], "x", {"name": 7}, {"name": ["x"]}, {"name": {"given": {}}}])
def test_malformed_input_is_survived(junk: Any) -> None:
    resource = {"resourceType": "Patient", **junk} if isinstance(junk, dict) else {"resourceType": junk}
    with suppress(EvaluationFailed):
        assert run("name.given.startsWith('x')", resource) in ([], [False])
    (count,) = run("descendants().count()", resource)
    assert isinstance(count, int)
