"""The distributed engine: admission and workers, on PgQueuer behind a narrow port."""
