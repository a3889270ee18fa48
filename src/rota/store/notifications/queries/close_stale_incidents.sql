-- An incident that nobody has added to for a day is over: what comes now is a new one.
UPDATE public.incidents SET closed_at = last_seen_at
WHERE user_id = ANY (%(user_ids)s) AND kind = %(kind)s AND closed_at IS NULL
  AND last_seen_at < now() - interval '1 day'
