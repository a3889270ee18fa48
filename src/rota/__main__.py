"""`python -m rota`."""

from rota.cli.main import run

if __name__ == "__main__":
    run()
