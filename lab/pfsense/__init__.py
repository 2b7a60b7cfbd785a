"""A twin of pfSense: its config.xml, its PHP, its REST and XML-RPC front, on charon and FRR (docs/lab.md)."""
