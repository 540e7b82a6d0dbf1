"""What a score is, without torch: fixed set, recipe, results, statistics, and the client of the worker."""
