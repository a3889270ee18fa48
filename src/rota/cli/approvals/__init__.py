"""Commands about approvals, their rules and deputies."""
