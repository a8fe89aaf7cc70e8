"""SR documents that were received: each becomes a version of a DiagnosticReport, or is left with a reason."""
