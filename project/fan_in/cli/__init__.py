"""The command ``fan-in``: asks an instance about its fan-ins, and changes nothing there."""
