"""Values for operators: processes, status, backups, retention."""
