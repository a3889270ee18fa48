SELECT journal_days, run_days, notification_days, history_days, queue_log_days, audit_days
FROM rota.retention
