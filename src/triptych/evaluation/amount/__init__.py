"""How accuracy depends on the amount of training data: a power law, its forecast, and what it says in one sentence."""
