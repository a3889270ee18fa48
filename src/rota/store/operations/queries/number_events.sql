SELECT rota.number_events(%(at_most)s)
