"""What happened to a fan-in, as events in the order of time: from an instance, or from a file."""
