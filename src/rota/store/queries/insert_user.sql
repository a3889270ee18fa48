INSERT INTO auth.users (email) VALUES (%(email)s) ON CONFLICT DO NOTHING
