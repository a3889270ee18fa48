SELECT service, account, expires_at, is_active, created_at
FROM public.connections
ORDER BY service
