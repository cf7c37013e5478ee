"""Python's loops, comprehensions and lists over a dynamic size, as loops and vectors of the graph."""
