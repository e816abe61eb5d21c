"""Meta-learning of losses: representations, meta-gradients, offline and online loops (thesis, chapters 3 and 5)."""
