INSERT INTO public.notifications (user_id, category, title, body, metadata, run_id)
VALUES (%(user_id)s, %(category)s, %(title)s, %(body)s, %(metadata)s, %(run_id)s)
RETURNING id
