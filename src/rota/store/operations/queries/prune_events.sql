SELECT rota.prune_events(%(before)s, %(at_most)s)
