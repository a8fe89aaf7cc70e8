"""A release in LOINC's form, of things that nobody measures."""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

Table = Sequence[Mapping[str, str]]

LINK = "http://loinc.org/property/"


def term(code: str, name: str, component: str, **more: str) -> dict[str, str]:
    return {
        "LOINC_NUM": code,
        "COMPONENT": component,
        "PROPERTY": "Brightness",
        "TIME_ASPCT": "Pt",
        "SYSTEM": "Moon",
        "SCALE_TYP": "Qn",
        "METHOD_TYP": "",
        "CLASS": "SKY",
        "VersionLastChanged": "9.71",
        "DefinitionDescription": "",
        "STATUS": "ACTIVE",
        "CLASSTYPE": "1",
        "RELATEDNAMES2": "lunar; glow",
        "SHORTNAME": name[:9],
        "ORDER_OBS": "Both",
        "EXTERNAL_COPYRIGHT_NOTICE": "",
        "LONG_COMMON_NAME": name,
        **more,
    }


def part(code: str, name: str, kind: str = "COMPONENT") -> dict[str, str]:
    return {
        "PartNumber": code,
        "PartTypeName": kind,
        "PartName": name,
        "PartDisplayName": name.title(),
        "Status": "ACTIVE",
    }


def below(code: str, parent: str, text: str = "") -> dict[str, str]:
    return {"PATH_TO_ROOT": "", "SEQUENCE": "1", "IMMEDIATE_PARENT": parent, "CODE": code, "CODE_TEXT": text}


def answer(list_id: str, code: str, place: int, text: str) -> dict[str, str]:
    return {
        "AnswerListId": list_id,
        "AnswerListName": "Shades of green",
        "AnswerStringId": code,
        "SequenceNumber": str(place),
        "DisplayText": text,
    }


TABLES: dict[str, Table] = {
    "LoincTable/Loinc.csv": [
        term("1-8", "Moonshine, at night", "Moonshine"),
        term("2-6", "Cheese content of the moon", "Cheese", EXTERNAL_COPYRIGHT_NOTICE="of the dairy"),
        term("3-4", 'Shade of "green"\nof the cheese', "Cheese", VersionLastChanged="9.9", CLASSTYPE="2"),
        term("4-2", "Moonshine, old", "Moonshine", STATUS="DEPRECATED"),
    ],
    "AccessoryFiles/PartFile/Part.csv": [part("LP1-1", "MOONSHINE"), part("LP2-9", "Cheese")],
    "AccessoryFiles/PartFile/LoincPartLink_Primary.csv": [
        {"LoincNumber": code, "PartNumber": part_, "PartName": name, "Property": f"{LINK}COMPONENT"}
        for code, part_, name in (("1-8", "LP1-1", "Moonshine"), ("2-6", "LP2-9", "Cheese"))
    ],
    "AccessoryFiles/ComponentHierarchyBySystem/ComponentHierarchyBySystem.csv": [
        below("LP9-0", "", "Sky"),
        below("LP1-1", "LP9-0"),
        below("LP2-9", "LP9-0"),
        below("1-8", "LP1-1"),
        below("2-6", "LP2-9"),
        below("3-4", "LP2-9"),
    ],
    "AccessoryFiles/AnswerFile/AnswerList.csv": [
        answer("LL1-9", "LA2-0", 2, "Pale"),
        answer("LL1-9", "LA1-2", 1, "Very green"),
    ],
    "AccessoryFiles/AnswerFile/LoincAnswerListLink.csv": [{"LoincNumber": "3-4", "AnswerListId": "LL1-9"}],
    "AccessoryFiles/LinguisticVariants/deDE15LinguisticVariant.csv": [
        {"LOINC_NUM": "1-8", "LONG_COMMON_NAME": "Mondschein bei Nacht"}
    ],
}


def text_of(table: Table) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(table[0]), quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(table)
    return out.getvalue()


def write_zip(path: Path, tables: Mapping[str, Table] = TABLES, **replaced: bytes) -> Path:
    """An archive; `replaced` has the bytes of files by their names without suffix."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, table in tables.items():
            stem = name.rpartition("/")[2].removesuffix(".csv")
            archive.writestr(f"Loinc/{name}", replaced.get(stem, text_of(table).encode()))
    return path
