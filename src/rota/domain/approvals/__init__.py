"""What an approval is: rules, risk signals, argument edits, and the states of an action."""
