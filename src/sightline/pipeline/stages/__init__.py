"""A recording taken through stages, each with a file of its own that the next one reads and a later run takes over."""
