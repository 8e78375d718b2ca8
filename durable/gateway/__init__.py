"""The Resonate protocol over HTTP (protocol.md 1): what comes in, and the streams that go out."""
