"""How good a model is on cases whose truth is known: figures with intervals. Pure: values in, values out."""
