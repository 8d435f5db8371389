"""Write `setup.sql`, all migrations in one paste: `.venv/bin/python sql/generate.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from copperplate.local.migrations import HISTORY, LOCK_KEY, find_migrations_folder, read_migrations

if TYPE_CHECKING:
    from copperplate.local.migrations import Migration

SETUP = Path(__file__).with_name("setup.sql")
QUOTE = "$statement$"
HEAD = f"""\
-- CHANGES the schema: sets up Copperplate without a terminal. Paste all of this into the SQL editor and run it.
-- Generated from supabase/migrations by sql/generate.py. May be run again: what is recorded is passed over, as
-- `supabase db push` and `copperplate migrate` do, which may follow it or come before it.
begin;
select pg_advisory_xact_lock({LOCK_KEY});
{HISTORY.decode().strip()}

create or replace function pg_temp.apply_migration(p_version text, p_name text, p_statements text[])
returns void
language plpgsql
as $function$
declare
    v_statement text;
begin
    if exists (select from supabase_migrations.schema_migrations as m where m.version = p_version) then
        return;
    end if;
    foreach v_statement in array p_statements loop
        execute v_statement;
    end loop;
    insert into supabase_migrations.schema_migrations (version, name, statements)
    values (p_version, p_name, p_statements);
end
$function$;
"""
FOOT = """
drop function pg_temp.apply_migration(text, text, text[]);
notify pgrst, 'reload schema';
commit;

select m.version, m.name from supabase_migrations.schema_migrations as m order by m.version;
"""


def setup_script() -> str:
    """All migrations as one script."""
    return HEAD + "".join(_applied(migration) for migration in read_migrations(find_migrations_folder())) + FOOT


def _applied(migration: Migration) -> str:
    for text in migration.texts:
        if QUOTE in text:
            message = f"{migration.file_name} says {QUOTE}, with which this script quotes it: choose another word there"
            raise ValueError(message)
    quoted = ",\n".join(f"{QUOTE}{text}{QUOTE}" for text in migration.texts)
    return f"\nselect pg_temp.apply_migration('{migration.version}', '{migration.name}', array[\n{quoted}\n]);\n"


if __name__ == "__main__":
    SETUP.write_text(setup_script(), encoding="utf-8")
