"""The text of files that strangers sent: PDF, Office files, calendar invitations, plain text."""
