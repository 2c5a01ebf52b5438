"""The only code that touches processes."""
