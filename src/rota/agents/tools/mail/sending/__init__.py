"""Mail that agents write: sent by SMTP or Gmail's API, kept as a draft, copied into Sent."""
