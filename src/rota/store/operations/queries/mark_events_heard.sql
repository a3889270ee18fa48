-- For as long as somebody hears it, writing an event notifies.
UPDATE rota.event_feed SET heard_until = now() + make_interval(secs => %(seconds)s)
