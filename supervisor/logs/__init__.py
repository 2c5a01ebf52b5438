"""What services print: the sink that writes it, its rotation, and how it is read back."""
