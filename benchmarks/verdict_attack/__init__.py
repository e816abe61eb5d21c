"""An attack on verdicts that shares nothing with the engine but the reference interpreter and the formula."""
