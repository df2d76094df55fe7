"""A history, played through a fan-in's own rule and through others, and how they differ."""
