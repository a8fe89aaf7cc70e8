"""What terminology operations say of codes, systems and value sets: every sentence in one table.

Severities and codes are those of the terminology ecosystem's test cases, whose validators read them; the
sentences name what they name, and where a case fixes a wording they keep to it (HL7 terminology ecosystem
guide; FHIR R4 codesystem-issue-type.html).
"""

from typing import NamedTuple

from terminology.issues import Issue, Severity, TxType


class Message(NamedTuple):
    """One kind of thing that is said; `text` has the names of what it speaks of in braces."""

    severity: Severity
    code: str  # IssueType
    tx: TxType | None
    text: str
    message_id: str | None = None  # by which validators of the ecosystem know it
    in_summary: bool = False  # errors always are

    def summed(self) -> "Message":
        """The same, which is told in `message` too."""
        return self._replace(in_summary=True)

    def issue(self, expression: str | None = None, **values: str) -> Issue:
        """The issue that says it of these values."""
        text = self.text.format(**values)
        return Issue(self.severity, self.code, text, self.tx, expression, self.message_id)


def _error(code: str, tx: TxType | None, text: str, message_id: str | None = None) -> Message:
    return Message(Severity.ERROR, code, tx, text, message_id)


def _warning(code: str, tx: TxType | None, text: str, message_id: str | None = None) -> Message:
    return Message(Severity.WARNING, code, tx, text, message_id)


def _information(code: str, tx: TxType | None, text: str, message_id: str | None = None) -> Message:
    return Message(Severity.INFORMATION, code, tx, text, message_id)


VALIDATED = "so the code cannot be validated"
EXPANDED = "so the value set cannot be expanded"

# Systems and versions; `consequence`: VALIDATED, EXPANDED
UNKNOWN_SYSTEM = _error(
    "not-found",
    TxType.NOT_FOUND,
    "A definition for CodeSystem '{system}' could not be found, {consequence}",
    message_id="UNKNOWN_CODESYSTEM",
)
UNKNOWN_VERSION = _error(
    "not-found",
    TxType.NOT_FOUND,
    "A definition for CodeSystem '{system}' version '{version}' could not be found, {consequence}. "
    "Valid versions: {versions}",
    message_id="UNKNOWN_CODESYSTEM_VERSION",
)
UNKNOWN_SYSTEM_OF_VERSION = _error(
    "not-found",
    TxType.NOT_FOUND,
    "A definition for CodeSystem '{system}' version '{version}' could not be found, {consequence}. "
    "No versions of this code system are known",
    message_id="UNKNOWN_CODESYSTEM_VERSION_NONE",
)
UNKNOWN_VALUE_SET = _error(
    "not-found",
    TxType.NOT_FOUND,
    "A definition for the value Set '{value_set}' could not be found",
    message_id="Unable_to_resolve_value_Set_",
)
UNKNOWN_IMPORT = UNKNOWN_VALUE_SET._replace(message_id="VS_EXP_IMPORT_UNK")
UNKNOWN_PINNED_IMPORT = UNKNOWN_VALUE_SET._replace(message_id="VS_EXP_IMPORT_UNK_PINNED")
IDS_IN_EXPANSIONS = {
    "UNKNOWN_CODESYSTEM": "UNKNOWN_CODESYSTEM_EXP",
    "UNKNOWN_CODESYSTEM_VERSION": "UNKNOWN_CODESYSTEM_VERSION_EXP",
    "UNKNOWN_CODESYSTEM_VERSION_NONE": "UNKNOWN_CODESYSTEM_VERSION_EXP_NONE",
}
VERSION_NOT_ALLOWED = _error(
    "exception",
    TxType.VERSION_ERROR,
    "The version '{version}' is not allowed for system '{system}': required to be '{required}' by a "
    "version-check parameter",
    message_id="VALUESET_VERSION_CHECK",
)
VALUE_VERSION_DIFFERS = _error(
    "invalid",
    TxType.VS_INVALID,
    "The code system '{system}' version '{version}' in the ValueSet include is different to the one in the "
    "value ('{given}')",
    message_id="VALUESET_VALUE_MISMATCH",
)
VALUE_VERSION_DIFFERS_BY_RULE = _error(
    "invalid",
    TxType.VS_INVALID,
    "The code system '{system}' version '{version}' resulting from the version '{included}' in the ValueSet "
    "include is different to the one in the value ('{given}')",
    message_id="VALUESET_VALUE_MISMATCH_CHANGED",
)
VALUE_VERSION_DIFFERS_FROM_NEWEST = _warning(
    "invalid",
    TxType.VS_INVALID,
    "The code system '{system}' version '{version}' for the versionless include in the ValueSet include is "
    "different to the one in the value ('{given}')",
    message_id="VALUESET_VALUE_MISMATCH_DEFAULT",
)
VERSION_NEEDED = _error(
    "invalid",
    TxType.INVALID_DATA,
    "The codes of '{system}' need a version, and none is given",
)
NOT_CHECKED = _warning(
    "not-found",
    TxType.NOT_FOUND,
    "A definition for CodeSystem '{system}' could not be found, so this coding was not checked",
    message_id="UNKNOWN_CODESYSTEM_CODING_NOT_CHECKED",
)

# What is given
NO_CODE_TO_VALIDATE = (
    "Unable to find code to validate (looked for coding | codeableConcept | code+system | code+inferSystem "
    "in parameters"
)
NO_SYSTEM = _warning(
    "invalid",
    TxType.INVALID_DATA,
    "Coding has no system. A code with no system has no defined meaning, and it cannot be validated. A "
    "system should be provided",
    message_id="Coding_has_no_system__cannot_validate",
).summed()
NO_CODE = _warning(
    "invalid",
    TxType.INVALID_DATA,
    "Coding has no code, so it cannot be validated",
).summed()
SYSTEM_IS_RELATIVE = _error(
    "invalid",
    TxType.INVALID_DATA,
    "Coding.system must be an absolute reference, not a local reference",
    message_id="Terminology_TX_System_Relative",
)
SYSTEM_IS_VALUE_SET = _error(
    "invalid",
    TxType.INVALID_DATA,
    "The Coding references a value set, not a code system ('{system}')",
    message_id="Terminology_TX_System_ValueSet2",
)
SYSTEM_IS_SUPPLEMENT = _error(
    "invalid",
    TxType.INVALID_DATA,
    "CodeSystem {system} is a supplement, so can't be used as a value in Coding.system",
    message_id="CODESYSTEM_CS_NO_SUPPLEMENT",
)
NOT_INFERRED = _error(
    "not-found",
    TxType.CANNOT_INFER,
    "The System URI could not be determined for the code '{code}' in the ValueSet '{value_set}'; "
    "it is in none of [{systems}]",
    message_id="UNABLE_TO_INFER_CODESYSTEM",
)
INFERRED_TWICE = _error(
    "not-found",
    TxType.CANNOT_INFER,
    "The System URI could not be determined for the code '{code}' in the ValueSet '{value_set}': value set "
    "expansion has multiple matches: [{systems}]",
    message_id="Unable_to_resolve_system__value_set_has_multiple_matches",
)

# Codes
UNKNOWN_CODE = _error(
    "code-invalid",
    TxType.INVALID_CODE,
    "Unknown code '{code}' in the CodeSystem '{system}'",
    message_id="Unknown_Code_in",
)
UNKNOWN_CODE_OF_VERSION = _error(
    "code-invalid",
    TxType.INVALID_CODE,
    "Unknown code '{code}' in the CodeSystem '{system}' version '{version}'",
    message_id="Unknown_Code_in_Version",
)
UNKNOWN_CODE_OF_FRAGMENT = _warning(
    "code-invalid",
    TxType.INVALID_CODE,
    "Unknown Code '{code}' in the CodeSystem '{system}'{version} - note that the code system is labeled as a "
    "fragment, so the code may be valid in some other fragment",
    message_id="UNKNOWN_CODE_IN_FRAGMENT",
)
GRAMMAR_NOT_KNOWN = _information(
    "informational",
    TxType.PROCESSING_NOTE,
    "The codes of '{system}' may be expressions of a grammar, of which '{code}' is not understood here",
)
NOT_IN_VALUE_SET = _error(
    "code-invalid",
    TxType.NOT_IN_VS,
    "The provided code '{coding}' was not found in the value set '{value_set}'",
    message_id="None_of_the_provided_codes_are_in_the_value_set_one",
)
NOT_OF_SYSTEM = _error(
    "code-invalid",
    TxType.INVALID_CODE,
    "The provided code '{coding}' is not one of the code system '{system}'",
)
THIS_NOT_IN_VALUE_SET = _information(
    "code-invalid",
    TxType.THIS_CODE_NOT_IN_VS,
    "The provided code '{coding}' was not found in the value set '{value_set}'",
    message_id="None_of_the_provided_codes_are_in_the_value_set_one",
)
NONE_IN_VALUE_SET = _error(
    "code-invalid",
    TxType.NOT_IN_VS,
    "No valid coding was found for the value set '{value_set}'",
    message_id="TX_GENERAL_CC_ERROR_MESSAGE",
)
ABSTRACT_CODE = _error(
    "business-rule",
    TxType.CODE_RULE,
    "Code '{system}#{code}' is abstract, and not allowed in this context",
    message_id="ABSTRACT_CODE_NOT_ALLOWED",
)
NOT_ACTIVE = _error(
    "business-rule",
    TxType.CODE_RULE,
    "The concept '{code}' is valid but is not active",
    message_id="STATUS_CODE_WARNING_CODE",
)
CODE_CASE = _information(
    "business-rule",
    TxType.CODE_RULE,
    "The code '{code}' differs from the correct code '{normal}' by case. Although the code system '{system}' "
    "is case insensitive, implementers are strongly encouraged to use the correct case anyway",
    message_id="CODE_CASE_DIFFERENCE",
)
CODE_FORM = _information(
    "business-rule",
    TxType.CODE_RULE,
    "The code '{code}' is not written as the code system '{system}' writes it: '{normal}'",
    message_id="CODE_NOT_IN_NORMAL_FORM",
)
CONCEPT_INACTIVE = _warning(
    "business-rule",
    TxType.CODE_COMMENT,
    "The concept '{code}' has a status of {status} and its use should be reviewed",
    message_id="INACTIVE_CONCEPT_FOUND",
).summed()
CONCEPT_DEPRECATED = _warning(
    "business-rule",
    TxType.CODE_COMMENT,
    "The concept '{code}' is deprecated and its use should be reviewed",
    message_id="DEPRECATED_CONCEPT_FOUND",
).summed()
DEPRECATED_IN_VALUE_SET = _warning(
    "business-rule",
    TxType.CODE_COMMENT,
    "The presence of the concept '{code}' in the system '{system}' in the value set {value_set} is marked "
    "with a status of {status} and its use should be reviewed",
    message_id="CONCEPT_DEPRECATED_IN_VALUESET",
)
STATUS_OF_DEFINITION = _information(
    "business-rule", TxType.STATUS_CHECK, "Reference to {status} {kind} {canonical}"
)

# Displays; `languages`: those asked for
ONE_DISPLAY = "Valid display is {displays}"
SOME_DISPLAYS = "Valid display is one of {count} choices: {displays}"
WRONG_DISPLAY = _error(
    "invalid",
    TxType.INVALID_DISPLAY,
    "Wrong Display Name '{display}' for {system}#{code}. {valid} (for the language(s) '{languages}')",
    message_id="Display_Name_for__should_be_one_of__instead_of",
).summed()
WRONG_SPACES = _error(
    "invalid",
    TxType.INVALID_DISPLAY,
    "Wrong whitespace in Display Name '{display}' for {system}#{code}. {valid} (for the language(s) "
    "'{languages}')",
    message_id="Display_Name_WS_for__should_be_one_of__instead_of",
).summed()
WRONG_DISPLAY_NONE_IN_LANGUAGE = _error(
    "invalid",
    TxType.INVALID_DISPLAY,
    "Wrong Display Name '{display}' for {system}#{code}. There are no valid display names found for "
    "language(s) '{languages}'. Default display is '{default}'",
    message_id="NO_VALID_DISPLAY_FOUND_NONE_FOR_LANG_ERR",
).summed()
DISPLAY_OF_OTHER_LANGUAGE = _information(
    "invalid",
    TxType.INVALID_DISPLAY,
    "There are no valid display names found for the code {system}#{code} for language(s) '{languages}'. The "
    "display is '{display}' which is a valid display for the default language",
    message_id="NO_VALID_DISPLAY_FOUND_NONE_FOR_LANG_OK",
).summed()
NO_DISPLAY = _warning(
    "invalid",
    TxType.INVALID_DISPLAY,
    "Cannot validate Display Name '{display}' for {system}#{code}: no display is known",
    message_id="NO_VALID_DISPLAY_AT_ALL",
).summed()
DISPLAY_NO_LONGER_USED = _warning(
    "invalid",
    TxType.DISPLAY_COMMENT,
    "'{display}' is no longer considered a correct display for code '{code}' (status = deprecated). The "
    "correct display is one of {displays}.",
    message_id="INACTIVE_DISPLAY_FOUND",
)
