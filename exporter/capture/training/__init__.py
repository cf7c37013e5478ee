"""Capture of a training step: what is recorded in place of what autograd or random numbers need."""
