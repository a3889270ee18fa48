"""The kinds of rules by which a schedule fires: cron, intervals, wall-clock times."""
