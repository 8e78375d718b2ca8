"""An app whose workflows are run by processes that get killed."""
