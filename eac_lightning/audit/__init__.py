"""Which labels are suspect: asking a network about its training set, and what follows from the answers."""
