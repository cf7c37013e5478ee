"""What the model's code finds while it is recorded in place of Python's, torch's and libraries' own."""
