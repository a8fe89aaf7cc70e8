"""SNOMED CT's own filters, value sets and maps (terminology.hl7.org/SNOMEDCT.html)."""
