"""The speech API as OpenAI has it, so that clients written for that one speak to this server."""
