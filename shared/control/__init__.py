"""The use cases of the control plane, written against the seams. Nothing here knows which Azure it is in."""
