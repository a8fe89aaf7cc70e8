"""Training of the models that ship, from generated data to a bundle folder; needs the extra `torch`."""
