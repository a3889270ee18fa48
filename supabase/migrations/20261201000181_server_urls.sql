-- The address that a server is opened at: `rota up` may have had to take another port.
ALTER TABLE rota.processes ADD COLUMN url text;
