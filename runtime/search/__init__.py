"""Discovery of losses: genetic programming that generates the IR (thesis, sections 3.2.2 and 3.2.5)."""
