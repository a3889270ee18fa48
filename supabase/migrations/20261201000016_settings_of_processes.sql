-- The names of the settings that a scheduler or worker has; never their values. NULL: not reported.
ALTER TABLE rota.processes ADD COLUMN settings text[];
