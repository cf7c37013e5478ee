"""Tensors that are stored in another way than a graph stores them: quantized, sparse, strided windows."""
