"""What a service is and what becomes of it: pure values and functions, no I/O."""
