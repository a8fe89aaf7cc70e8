"""Every package's tables: importing this module fills the metadata of `Row`."""

import ai_engine.tables
import dicomweb.tables
import dicomweb.worklist.tables
import fhir.tables
import server.audit.tables
import server.auth.tables
import server.kernel.tables
import server.workflows.documents.tables
import terminology.tables

MODULES = (
    ai_engine.tables,
    dicomweb.tables,
    dicomweb.worklist.tables,
    fhir.tables,
    server.audit.tables,
    server.auth.tables,
    server.kernel.tables,
    server.workflows.documents.tables,
    terminology.tables,
)
