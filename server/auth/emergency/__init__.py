"""Emergency access: a clinician breaks the glass, an auditor looks at it (45 CFR 164.312(a)(2)(ii))."""
