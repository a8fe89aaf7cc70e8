"""FHIR R4 terminology: codes that every part agrees on."""
