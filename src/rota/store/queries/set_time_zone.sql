INSERT INTO public.user_settings (user_id, time_zone) VALUES (%(user_id)s, %(time_zone)s)
ON CONFLICT (user_id) DO UPDATE SET time_zone = excluded.time_zone
WHERE user_settings.time_zone <> excluded.time_zone
