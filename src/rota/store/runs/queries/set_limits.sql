-- Only the columns that are named in `changed` take their new value; NULL is as everybody has it.
INSERT INTO public.user_limits AS l
    (user_id, max_concurrency, day_tokens, day_cost_usd, unlimited)
VALUES (%(user_id)s, %(max_concurrency)s, %(day_tokens)s, %(day_cost_usd)s, %(unlimited)s)
ON CONFLICT (user_id) DO UPDATE
SET max_concurrency = CASE WHEN 'max_concurrency' = ANY (%(changed)s::text[])
                           THEN excluded.max_concurrency ELSE l.max_concurrency END,
    day_tokens = CASE WHEN 'day_tokens' = ANY (%(changed)s::text[])
                      THEN excluded.day_tokens ELSE l.day_tokens END,
    day_cost_usd = CASE WHEN 'day_cost_usd' = ANY (%(changed)s::text[])
                        THEN excluded.day_cost_usd ELSE l.day_cost_usd END,
    unlimited = ARRAY(SELECT unnest(l.unlimited) EXCEPT SELECT unnest(%(changed)s::text[])
                      UNION SELECT unnest(excluded.unlimited) ORDER BY 1)
