"""What an SR by TID 1500 says, as FHIR R4; the pieces of `server/workflows/sr_to_fhir.py`."""
