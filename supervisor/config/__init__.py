"""From the YAML file to specs, or to every error in it."""
