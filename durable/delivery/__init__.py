"""The way out: messages leave the outbox for event streams and for whatever else has an address."""
