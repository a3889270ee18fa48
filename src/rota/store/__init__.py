"""PostgreSQL: connections, identity, migrations, the embedded server; rows become values here."""
