"""The PostgreSQL server that comes with rota: its files, cluster and process."""
