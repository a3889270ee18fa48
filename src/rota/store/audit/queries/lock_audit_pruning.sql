SELECT FROM rota.locks WHERE name = 'audit_pruning' FOR NO KEY UPDATE
