"""The wire from the learner to the engines: a contract and its two ends."""
