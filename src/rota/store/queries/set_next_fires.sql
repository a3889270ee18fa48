UPDATE public.agent_schedules AS s
SET next_fire_at = p.next_fire_at,
    is_active = p.next_fire_at IS NOT NULL,
    pause_note = CASE WHEN p.next_fire_at IS NULL THEN 'it has no fire time left' END
FROM unnest(%(ids)s::uuid[], %(next_fires)s::timestamptz[]) AS p (id, next_fire_at)
WHERE s.id = p.id
