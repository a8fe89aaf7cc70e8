"""What is particular to the filters of some code systems, by `TerminologyRelease.kind`.

A rule gets the release and a filter, and gives the condition, or None: it is an ordinary one.
"""

from collections.abc import Mapping

from terminology.releases.loinc import filter_loinc
from terminology.releases.system import Rule
from terminology.snomed.rule import SnomedRule

RULES: Mapping[str, Rule] = {"loinc": filter_loinc, "snomed": SnomedRule()}
