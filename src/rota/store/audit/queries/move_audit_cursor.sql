UPDATE rota.audit_cursor
SET sealed = %(sealed)s::pg_snapshot, stuck = '{}',
    server = (SELECT system_identifier FROM pg_control_system())
