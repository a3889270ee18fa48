-- NULL stands for deleted runs. In no order, so that locked rows do not hide other rows.
SELECT run_id FROM public.pending_actions
WHERE status = 'pending' AND expires_at <= now()
GROUP BY run_id
ORDER BY random()
LIMIT %(limit)s
