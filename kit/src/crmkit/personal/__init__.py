"""Personal data of the people that an organisation deals with: found, read in full, and erased."""
