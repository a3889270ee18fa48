"""Commands that start, stop and check the processes of rota."""
