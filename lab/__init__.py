"""The lab: a simulated Azure in front of a real network. Nobody imports it. See docs/lab.md."""
