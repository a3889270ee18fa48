"""The journal of a run: its steps, what they cost, and how they replay."""
