"""How a database comes to the present schema, step by step; Alembic runs what is in here."""
