"""Many runs: a grid's plan, workers, store and statistics, and frames of their results."""
