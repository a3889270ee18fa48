-- What one session holds stops nobody else: locks are rows that only the backend reaches, and nothing
-- of ours announces into a NOTIFY queue that fills.

-- What one process does at a time. Rows, not advisory locks: those anybody may take who can connect.
CREATE TABLE rota.locks (name text PRIMARY KEY);
INSERT INTO rota.locks (name) VALUES ('admission'), ('audit_pruning'), ('audit_sealing');
SELECT rota.keep_to_backend('rota.locks');
REVOKE INSERT, DELETE ON rota.locks FROM service_role; -- UPDATE: to lock its rows
