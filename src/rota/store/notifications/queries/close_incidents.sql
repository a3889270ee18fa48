-- Ends announced incidents only: nobody gets a recovery notification without an incident.
UPDATE public.incidents SET closed_at = now()
WHERE user_id = ANY (%(user_ids)s) AND kind = %(kind)s AND closed_at IS NULL
  AND announced_at IS NOT NULL
RETURNING id, user_id, opened_at
