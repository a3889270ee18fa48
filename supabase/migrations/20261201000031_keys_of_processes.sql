-- Fingerprints of the keys that a worker has, the newest first; never the keys. NULL: not reported.
ALTER TABLE rota.processes ADD COLUMN key_ids text[];
