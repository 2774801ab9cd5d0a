"""How many of what a load needs: queueing formulas, a simulator checked against the real stack, and plans."""
