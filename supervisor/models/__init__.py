"""Files of models: fetched once, recorded, and checked ever after."""
