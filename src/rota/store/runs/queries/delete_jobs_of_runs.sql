-- Jobs of attempts that are over: of runs that parked, and go on.
DELETE FROM rota.pgqueuer WHERE dedupe_key = ANY (%(keys)s)
