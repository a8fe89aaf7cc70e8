"""Concepts that keywords of the language stand for (ECL 2.2, §6.8, §6.9, §6.11 and Appendix C)."""

from collections.abc import Mapping

from terminology.ecl.syntax import AnyConcept, ConceptReference, Either, Expression

FULLY_SPECIFIED_NAME = "900000000000003001"
SYNONYM = "900000000000013009"
DEFINITION = "900000000000550004"
PREFERRED = "900000000000548007"
ACCEPTABLE = "900000000000549004"
DEFINED = "900000000000073002"
PRIMITIVE = "900000000000074008"

TYPES: Mapping[str, str] = {
    "fsn": FULLY_SPECIFIED_NAME,
    "fullyspecifiedname": FULLY_SPECIFIED_NAME,
    "syn": SYNONYM,
    "synonym": SYNONYM,
    "def": DEFINITION,
    "definition": DEFINITION,
}
ACCEPTABILITIES: Mapping[str, str] = {
    "prefer": PREFERRED,
    "preferred": PREFERRED,
    "accept": ACCEPTABLE,
    "acceptable": ACCEPTABLE,
}
DEFINITION_STATUSES: Mapping[str, str] = {"defined": DEFINED, "primitive": PRIMITIVE}

SAME_AS = ConceptReference("900000000000527005")
REPLACED_BY = ConceptReference("900000000000526001")
WAS_A = ConceptReference("900000000000528000")
PARTIALLY_EQUIVALENT_TO = ConceptReference("1186924009")
HISTORY: Mapping[str, Expression] = {
    "min": SAME_AS,
    "mod": Either((SAME_AS, REPLACED_BY, WAS_A, PARTIALLY_EQUIVALENT_TO)),
    "max": AnyConcept(),  # of those that have a target
}

WELL_KNOWN = frozenset(  # they may be missing: a keyword means nothing then
    {PARTIALLY_EQUIVALENT_TO.code, SAME_AS.code, REPLACED_BY.code, WAS_A.code}
    | {DEFINED, PRIMITIVE, PREFERRED, ACCEPTABLE, FULLY_SPECIFIED_NAME, SYNONYM, DEFINITION}
)

DIALECTS: Mapping[str, str] = {
    "da-dk": "554461000005103",
    "de": "722130004",
    "en-au": "32570271000036106",
    "en-ca": "19491000087109",
    "en-gb": "900000000000508004",
    "en-gb-x-drug": "999000681000001101",
    "en-gb-x-ext": "999001251000000103",
    "en-ie": "21000220103",
    "en-nz": "271000210107",
    "en-nz-x-pat": "281000210109",
    "en-us": "900000000000509007",
    "en-x-gmdn": "608771002",
    "en-x-nhs-clinical": "999001261000000100",
    "en-x-nhs-dmd": "999000671000001103",
    "en-x-nhs-pharmacy": "999000691000001104",
    "es": "450828004",
    "es-uy": "5641000179103",
    "et-ee": "71000181105",
    "fr": "722131000",
    "fr-be": "21000172104",
    "fr-ca": "20581000087109",
    "ja": "722129009",
    "mi": "291000210106",
    "nb-no": "61000202103",
    "nl-be": "31000172101",
    "nl-nl": "31000146106",
    "nn-no": "91000202106",
    "sv-se": "46011000052107",
    "zh": "722128001",
}
