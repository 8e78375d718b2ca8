"""How anything in this process talks to the engine: requests in, replies out."""
