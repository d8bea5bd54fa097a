"""A run to look at: one self-contained HTML page of curves, samples and settings. docs/report.md shows it."""
