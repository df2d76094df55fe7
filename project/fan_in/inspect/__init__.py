"""Where the fan-ins of a code location stand: what each waits for, what made a run, and why not."""
