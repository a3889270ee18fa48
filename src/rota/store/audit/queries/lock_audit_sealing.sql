SELECT pg_try_advisory_xact_lock(hashtext('rota'), hashtext('audit_sealing'))
