"""Commands of the people's side."""
