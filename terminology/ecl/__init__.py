"""SNOMED CT Expression Constraint Language 2.2: read (`parse`), written (`render`), answered (`evaluate`)."""
