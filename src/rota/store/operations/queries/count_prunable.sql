-- What a pruning would delete: the conditions of the prune_*.sql statements, counted. A NULL
-- instant (for ever) is later than nothing.
WITH journals AS (
    SELECT id FROM rota.prunable_runs
    WHERE journal_pruned_at IS NULL AND finished_at < %(journals)s::timestamptz
), due AS (
    SELECT id FROM rota.prunable_runs WHERE finished_at < %(runs)s::timestamptz
)
SELECT (SELECT count(*) FROM public.agent_run_steps AS s JOIN journals AS j ON s.run_id = j.id)
           AS steps,
       (SELECT count(*) FROM due) AS runs,
       (SELECT count(*) FROM public.agent_execution_results AS r JOIN due ON r.run_id = due.id)
           AS results,
       (SELECT count(*) FROM public.schedule_occurrences AS o
        WHERE o.created_at < %(runs)s::timestamptz
          AND coalesce(o.last_fire_time, o.fire_time) < %(runs)s::timestamptz
          AND (o.run_id IS NULL OR o.run_id IN (SELECT id FROM due))) AS occurrences,
       (SELECT count(*) FROM (
            SELECT n.id FROM public.notifications AS n
            WHERE n.created_at < %(notifications)s::timestamptz
              AND NOT EXISTS (SELECT FROM public.agent_runs AS r
                              WHERE r.id = n.run_id AND r.status NOT IN ('finished', 'cancelled'))
            UNION
            SELECT beyond.id
            FROM (SELECT user_id, count(*) AS there FROM public.notifications GROUP BY user_id) AS p
            CROSS JOIN LATERAL rota.quotas_of(p.user_id) AS q
            CROSS JOIN LATERAL (SELECT n.id FROM public.notifications AS n
                                WHERE n.user_id = p.user_id
                                ORDER BY n.created_at DESC, n.id DESC
                                OFFSET q.max_notifications) AS beyond
            WHERE p.there > q.max_notifications) AS due)
           AS notifications,
       (SELECT count(*) FROM public.schedule_changes AS c
        WHERE c.changed_at < %(schedule_changes)s::timestamptz) AS schedule_changes,
       (SELECT count(*) FROM public.incidents AS i
        WHERE i.closed_at < %(incidents)s::timestamptz) AS incidents,
       (SELECT count(*) FROM rota.pgqueuer_log AS l
        WHERE l.created < %(queue_log)s::timestamptz
          AND NOT EXISTS (SELECT FROM rota.pgqueuer AS j WHERE j.id = l.job_id)) AS queue_log,
       (SELECT coalesce(sum(cardinality(b.row_ids)), 0)::bigint FROM public.audit_blocks AS b
        WHERE b.sealed_at < %(audit)s::timestamptz
          AND NOT EXISTS (SELECT FROM public.audit_blocks AS k
                          WHERE k.chain_id = b.chain_id AND k.seq < b.seq
                            AND k.sealed_at >= %(audit)s::timestamptz)) AS audit
