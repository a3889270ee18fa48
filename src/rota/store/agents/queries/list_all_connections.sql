SELECT id, name, service AS kind, account, scopes, state, problem, expires_at, last_used_at,
       last_checked_at, is_active, created_at
FROM public.connections
ORDER BY name, id
