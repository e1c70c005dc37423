"""Policy, randomness, the release step and the ledger: what makes a guarantee of a promise."""
