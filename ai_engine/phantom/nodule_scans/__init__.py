"""Chest CT with nodules of known shape, for training and evaluating a detector; modelled on no patient.

Another generator than `ai_engine.phantom.chest`: drawn from populations of anatomies and scanners, with
partial volume. The same seed, population and `GENERATOR_VERSION` give the same scan.
"""

GENERATOR_VERSION = 1
