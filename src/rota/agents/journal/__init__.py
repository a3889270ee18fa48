"""The journal of a run: its steps, their cost, and their replay."""
