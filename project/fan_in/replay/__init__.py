"""What happened to a fan-in, recorded, and what another rule would have requested."""
