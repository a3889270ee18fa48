SELECT user_id, name
FROM public.connections
WHERE refresh_at <= %(now)s AND is_active AND key_id = ANY (%(key_ids)s)
  AND (lease_until IS NULL OR lease_until <= clock_timestamp())
ORDER BY refresh_at
LIMIT %(limit)s
