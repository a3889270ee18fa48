-- One admission at a time. A statement of its own: the next one sees what the last holder did.
-- Nobody can estimate how many wait and how many of them are asked for: on a guess of one row the
-- next statement would join thousands with thousands row by row, or sort a schedule's whole line
-- again for each run in it, and on a guess of millions it would be compiled for longer than it runs.
SELECT EXISTS (SELECT FROM rota.locks WHERE name = 'admission' FOR NO KEY UPDATE SKIP LOCKED),
       set_config('enable_nestloop', 'off', true),
       set_config('enable_sort', 'off', true), set_config('jit', 'off', true)
