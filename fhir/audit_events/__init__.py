"""The audit trail as AuditEvents, to be read only (FHIR R4 auditevent.html; IHE BALP)."""
