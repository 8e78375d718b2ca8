"""What the pages do, for programs: JSON over HTTP under the same rights."""
