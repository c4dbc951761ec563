"""Two forms of one network, or two networks: what each says of the same images, and how far apart that is."""
