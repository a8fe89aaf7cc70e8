"""The audit trail sent on to an Audit Record Repository (IHE ITI-20; DICOM PS3.15 A.5, A.6)."""
