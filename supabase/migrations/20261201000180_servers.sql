-- Processes that serve the HTTP API report that they live, as schedulers and workers do.
ALTER TABLE rota.processes DROP CONSTRAINT processes_kind_check;
ALTER TABLE rota.processes ADD CONSTRAINT processes_kind_check
    CHECK (kind IN ('scheduler', 'worker', 'server'));
