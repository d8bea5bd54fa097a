"""One number each: hardware, versions and commit are printed with it. Run as `python -m benchmarks.NAME`."""
