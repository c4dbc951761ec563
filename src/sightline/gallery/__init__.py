"""Who has been seen: entries that are kept, whatever keeps them."""
