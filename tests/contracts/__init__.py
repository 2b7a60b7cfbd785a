"""One suite per seam, run against the fake that the other tests use and against the adapter that production uses."""
