"""Final answers in mathematics: out of text, through a parser of our own, compared by type."""
