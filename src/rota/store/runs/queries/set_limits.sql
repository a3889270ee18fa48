-- Only the columns that are named in `changed` take their new value; NULL is as everybody has it.
INSERT INTO public.user_limits AS l
    (user_id, max_concurrency, day_tokens, day_cost_usd, max_schedules, min_interval_seconds,
     max_waiting_runs, max_rules, max_rule_bytes, max_notifications, unlimited)
VALUES (%(user_id)s, %(max_concurrency)s, %(day_tokens)s, %(day_cost_usd)s, %(max_schedules)s,
        %(min_interval_seconds)s, %(max_waiting_runs)s, %(max_rules)s, %(max_rule_bytes)s,
        %(max_notifications)s, %(unlimited)s)
ON CONFLICT (user_id) DO UPDATE
SET max_concurrency = CASE WHEN 'max_concurrency' = ANY (%(changed)s::text[])
                           THEN excluded.max_concurrency ELSE l.max_concurrency END,
    day_tokens = CASE WHEN 'day_tokens' = ANY (%(changed)s::text[])
                      THEN excluded.day_tokens ELSE l.day_tokens END,
    day_cost_usd = CASE WHEN 'day_cost_usd' = ANY (%(changed)s::text[])
                        THEN excluded.day_cost_usd ELSE l.day_cost_usd END,
    max_schedules = CASE WHEN 'max_schedules' = ANY (%(changed)s::text[])
        THEN excluded.max_schedules ELSE l.max_schedules END,
    min_interval_seconds = CASE WHEN 'min_interval_seconds' = ANY (%(changed)s::text[])
        THEN excluded.min_interval_seconds ELSE l.min_interval_seconds END,
    max_waiting_runs = CASE WHEN 'max_waiting_runs' = ANY (%(changed)s::text[])
        THEN excluded.max_waiting_runs ELSE l.max_waiting_runs END,
    max_rules = CASE WHEN 'max_rules' = ANY (%(changed)s::text[])
        THEN excluded.max_rules ELSE l.max_rules END,
    max_rule_bytes = CASE WHEN 'max_rule_bytes' = ANY (%(changed)s::text[])
        THEN excluded.max_rule_bytes ELSE l.max_rule_bytes END,
    max_notifications = CASE WHEN 'max_notifications' = ANY (%(changed)s::text[])
        THEN excluded.max_notifications ELSE l.max_notifications END,
    unlimited = ARRAY(SELECT unnest(l.unlimited) EXCEPT SELECT unnest(%(changed)s::text[])
                      UNION SELECT unnest(excluded.unlimited) ORDER BY 1)
