"""From the instances of one series to a volume in Hounsfield units with its place in the patient; pure."""
