SELECT pg_advisory_xact_lock(hashtext('rota'), hashtext('audit_pruning'))
