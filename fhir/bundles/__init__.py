"""Bundles that are processed: batch and transaction (FHIR R4 http.html#transaction)."""
