SELECT to_jsonb(%(at)s::timestamptz AT TIME ZONE 'UTC') #>> '{}'
