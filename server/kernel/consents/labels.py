"""Labels of confidentiality in their order (v3-Confidentiality; FHIR R4 security-labels.html)."""

CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
RANKS = {code: rank for rank, code in enumerate("ULMNRV")}  # from unrestricted to very restricted
NORMAL = RANKS["N"]
NO_RANK = -1  # in a rule: confidentiality is not asked for
