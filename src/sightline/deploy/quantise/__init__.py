"""A network in fewer bits, judged on its user's own images before anybody may use it."""
