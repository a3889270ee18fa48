INSERT INTO public.notifications (user_id, category, title, body, metadata, run_id)
SELECT n.user_id, n.category, n.title, n.body, n.metadata, n.run_id
FROM ROWS FROM (jsonb_to_recordset(%(notifications)s::jsonb) AS (
    user_id uuid, category text, title text, body text, metadata jsonb, run_id uuid))
    WITH ORDINALITY AS n (user_id, category, title, body, metadata, run_id, place)
ORDER BY n.place
RETURNING id
