"""How each supervisor is configured, started, asked and stopped."""
