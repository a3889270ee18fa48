-- An incident without a new fault for a day is over. A later fault opens a new incident.
UPDATE public.incidents SET closed_at = last_seen_at
WHERE user_id = ANY (%(user_ids)s) AND kind = %(kind)s AND closed_at IS NULL
  AND last_seen_at < now() - interval '1 day'
