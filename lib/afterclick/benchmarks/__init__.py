"""Measured promises: each module is one benchmark with its baseline in the same run (benchmarks/README.md)."""
