"""The lab: a simulated Azure in front of a real network. Nobody imports it; see docs/lab.md for what is real and what is simulated."""
