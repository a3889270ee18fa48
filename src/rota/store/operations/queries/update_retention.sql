UPDATE rota.retention
SET journal_days = %(journal_days)s,
    run_days = %(run_days)s,
    notification_days = %(notification_days)s,
    history_days = %(history_days)s,
    queue_log_days = %(queue_log_days)s,
    audit_days = %(audit_days)s
