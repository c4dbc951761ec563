"""From pictures to people: detect, track, embed, remember."""
