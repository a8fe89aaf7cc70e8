"""A generated chest CT with known truth, for the demo and for tests; it is modelled on no patient."""
