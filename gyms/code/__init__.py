"""Programs as answers: tests as data, a verdict made outside of the sandbox."""
