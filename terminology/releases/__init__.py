"""Code systems that are too large for memory, as releases in the database (FHIR R4 codesystem.html)."""
