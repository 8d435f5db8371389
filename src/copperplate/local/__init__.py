"""The database of a machine without Supabase: an embedded Postgres, its bootstrap, the migrations."""
