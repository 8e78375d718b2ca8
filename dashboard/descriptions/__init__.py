"""What a latent promise says to people: its description, parsed and checked. Pure."""

from dashboard.descriptions.description import Description, Fact, read_description
from dashboard.descriptions.reading import DescriptionError

__all__ = ["Description", "DescriptionError", "Fact", "read_description"]
