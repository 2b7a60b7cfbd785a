"""Benchmarks: `make bench PART=repair` (or `outage`) plays them in the model world and leaves build/bench/<part>.json.

They say what Homelink is worth beside what people do today, in numbers that anybody can make again. The same seed gives
the same samples; what is assumed about Azure, ISPs and routers is stated in the result.
"""
