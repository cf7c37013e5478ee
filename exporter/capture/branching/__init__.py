"""Python's decisions: which of them a tensor's values make, which nothing depends on, and how both ways join."""
