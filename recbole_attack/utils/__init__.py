"""Files, randomness, errors and exit codes: free for every other part, and importing none of them."""
