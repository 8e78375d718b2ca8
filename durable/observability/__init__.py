"""What the engine tells monitoring."""
