"""Search: parameters of the R4 definitions, values indexed at write, queries as SQL (FHIR R4 search.html)."""
