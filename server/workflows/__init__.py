"""What crosses DICOMweb, FHIR and the AI engine."""
