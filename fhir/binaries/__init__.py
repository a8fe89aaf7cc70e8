"""Binary: any content, kept as bytes and given as bytes (FHIR R4 binary.html)."""
