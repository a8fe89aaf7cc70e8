"""Does a resource obey FHIR R4? A walker compiled from its StructureDefinitions (FHIR R4 validation.html)."""
