SELECT EXISTS (
    SELECT FROM rota.locks WHERE name = 'audit_sealing' FOR NO KEY UPDATE SKIP LOCKED
)
