"""Sizes that values decide: masks, nonzero, unique, packed sequences, and what code does with them."""
