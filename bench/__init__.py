"""Benchmarks of the installed farkeep script against other backup tools (`python -m bench.driver`)."""
