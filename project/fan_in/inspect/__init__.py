"""Describes the fan-ins of a code location, and says where each stands, now or at a time."""
