"""The rules, one file a family of ATen operators."""
