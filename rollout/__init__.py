"""How tasks are answered: engines, the INT4 number format, and the wire that feeds them."""
