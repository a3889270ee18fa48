SELECT n.user_id, q.max_notifications AS kept
FROM (SELECT user_id, count(*) AS there FROM public.notifications GROUP BY user_id) AS n
CROSS JOIN LATERAL rota.quotas_of(n.user_id) AS q
WHERE n.there > q.max_notifications
