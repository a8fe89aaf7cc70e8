"""The resources that this server authors, laid out as JSON.

Plain values rather than `fhir.resources` models: those lose the digits of decimals and cost a hundred times
the JSON work. Tests hold what is built here to the validator and to the R4B models.
"""
