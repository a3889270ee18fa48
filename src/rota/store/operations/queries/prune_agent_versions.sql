-- Older versions of agents; the latest of each stays while the agent is there.
DELETE FROM public.agent_versions AS v
WHERE v.id IN (
    SELECT o.id FROM public.agent_versions AS o
    WHERE o.changed_at < %(before)s
      AND (o.change = 'removed' OR EXISTS (
          SELECT FROM public.agent_versions AS later
          WHERE later.user_id IS NOT DISTINCT FROM o.user_id AND later.agent_name = o.agent_name
            AND later.version > o.version))
    ORDER BY o.changed_at LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED)
