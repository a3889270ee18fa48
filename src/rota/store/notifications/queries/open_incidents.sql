-- One open incident per person and kind.
INSERT INTO public.incidents (user_id, kind)
SELECT u.user_id, %(kind)s FROM unnest(%(user_ids)s::uuid[]) AS u (user_id)
ON CONFLICT (user_id, kind) WHERE closed_at IS NULL DO UPDATE SET last_seen_at = now()
