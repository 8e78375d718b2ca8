"""The forms of questions: from a JSON Schema, a proposal, a Django form or a pydantic model."""
