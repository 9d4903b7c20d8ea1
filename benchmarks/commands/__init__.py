"""The commands: what each takes, and what it prints. What they need is imported when they run."""
