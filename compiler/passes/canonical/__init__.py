"""The parts of the canonical form: ordering, sums, products and powers, and the identities of every operator."""
