"""From labelled images to trained weights. Needs torch."""
