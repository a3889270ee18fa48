SELECT s.id, o.start AS decision, o.since, o.parked
FROM unnest(%(schedule_ids)s::uuid[], %(policies)s::text[]) AS s (id, policy)
CROSS JOIN LATERAL rota.judge_overlap(s.id, s.policy) AS o
