"""FHIR R4 content: JSON read and written exactly, validation, and the resources that this server authors."""
