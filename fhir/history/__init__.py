"""history of a resource, a type, the whole record (FHIR R4 http.html#history): ask, find, render."""
