"""What patients deny: Consents, read once when they are written (FHIR R4 consent.html; decision 0034)."""
