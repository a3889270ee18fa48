"""Use cases of approvals: holding calls, decisions, rules, deputies, expiry."""
