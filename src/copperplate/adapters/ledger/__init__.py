"""The ledger in SQL: functions of the database, called by name over psycopg or PostgREST."""
