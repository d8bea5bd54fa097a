"""How a response is judged: killable verifier workers, and the rules that turn a score into a reward."""
