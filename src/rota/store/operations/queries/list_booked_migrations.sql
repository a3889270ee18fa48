SELECT version, name, checksum FROM rota.schema_migrations ORDER BY version
