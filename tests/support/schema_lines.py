"""Everything the migrations make, as lines of text: two databases are alike where the lines are."""

from __future__ import annotations

import psycopg

LINES = """
with ours as (
    select n.oid, n.nspname from pg_namespace as n where n.nspname in ('public', 'copperplate')
),

relations as (
    select c.*, o.nspname from pg_class as c inner join ours as o on c.relnamespace = o.oid
    where c.relkind in ('r', 'v', 'S', 'c')
)

select format('schema %s owner %s acl %s', n.nspname, n.nspowner::regrole, n.nspacl)
from pg_namespace as n inner join ours as o on n.oid = o.oid
union all
select format(
    '%s %s owner %s acl %s options %s security %s', r.relkind, r.oid::regclass, r.relowner::regrole,
    (select array_agg(a::text order by a::text) from unnest(r.relacl) as a), r.reloptions, r.relrowsecurity
)
from relations as r
union all
select format(
    'column %s.%s %s not null %s identity %s default %s', r.oid::regclass, a.attname,
    format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, pg_get_expr(d.adbin, d.adrelid)
)
from relations as r
inner join pg_attribute as a on r.oid = a.attrelid and a.attnum > 0 and not a.attisdropped
left join pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
union all
select format('constraint %s %s %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))
from pg_constraint as c inner join ours as o on c.connamespace = o.oid
union all
select pg_get_indexdef(i.indexrelid) from pg_index as i inner join relations as r on i.indrelid = r.oid
union all
select pg_get_triggerdef(t.oid) from pg_trigger as t inner join relations as r on t.tgrelid = r.oid
where not t.tgisinternal
union all
select pg_get_viewdef(r.oid) from relations as r where r.relkind = 'v'
union all
select format('policy %s', p.*::text) from pg_policies as p
union all
select format(
    '%s owner %s acl %s', pg_get_functiondef(p.oid), p.proowner::regrole,
    (select array_agg(a::text order by a::text) from unnest(p.proacl) as a)
)
from pg_proc as p inner join ours as o on p.pronamespace = o.oid
union all
select format('comment %s %s', pg_describe_object(d.classoid, d.objoid, d.objsubid), d.description)
from pg_description as d
where d.classoid in ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_namespace'::regclass, 'pg_type'::regclass)
    and d.objoid >= 16384 and pg_describe_object(d.classoid, d.objoid, d.objsubid) not like 'schema extensions'
union all
select format('migration %s %s %s', m.version, m.name, m.statements::text)
from supabase_migrations.schema_migrations as m
"""


def schema_lines(url: str) -> list[str]:
    """The lines of the database of `url`, sorted."""
    with psycopg.connect(url) as connection:
        return sorted(line for (line,) in connection.execute(LINES).fetchall())
