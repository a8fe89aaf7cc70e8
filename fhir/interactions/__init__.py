"""The RESTful interactions (FHIR R4 http.html), one module each, and their internal use by the publisher."""
