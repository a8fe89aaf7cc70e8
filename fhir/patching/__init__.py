"""The two patch formats of R4 (http.html#patch): JSON Patch, and FHIRPath Patch. Pure."""
