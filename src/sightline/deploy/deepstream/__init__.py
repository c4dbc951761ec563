"""A folder in which a DeepStream pipeline recognises people, written from a model's card."""
