-- Everybody's limits (user_id NULL), then those of single persons, and what is under way of each.
SELECT l.user_id, u.email, l.max_concurrency, l.day_tokens, l.day_cost_usd, l.unlimited,
       l.max_schedules, l.min_interval_seconds, l.max_waiting_runs, l.max_rules, l.max_rule_bytes,
       l.max_notifications,
       (SELECT count(*) FROM public.agent_runs AS r
        WHERE r.user_id = l.user_id AND rota.holds_slot(r)) AS under_way
FROM public.user_limits AS l
LEFT JOIN rota.addresses_of_people(ARRAY(SELECT user_id FROM public.user_limits)) AS u
    ON u.id = l.user_id
WHERE l.user_id IS NULL OR num_nonnulls(
       l.max_concurrency, l.day_tokens, l.day_cost_usd, l.max_schedules, l.min_interval_seconds,
       l.max_waiting_runs, l.max_rules, l.max_rule_bytes, l.max_notifications) > 0
   OR l.unlimited <> '{}'
ORDER BY l.user_id NULLS FIRST
