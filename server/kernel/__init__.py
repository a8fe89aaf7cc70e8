"""The floor: values and services that every package stands on."""
