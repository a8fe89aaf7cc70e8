"""A person's word on a report: accept, amend, reject, in the archive and in the record (DESIGN §2)."""
