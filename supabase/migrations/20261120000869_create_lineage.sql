-- Where pictures come from, and what was made from them. Lineage goes through the bytes:
--
--   generation ──(its bytes, or a rectangle of them)──► source picture ──(recipe.source)──► generation
--
-- A generation has one source picture and that has one parent, so what is above is a line, and what is below a tree. A
-- parent that would close a circle is not noted, unless two are noted at the same moment: every walk here meets each
-- digest once, or ends at a depth.

create function copperplate.hold_lineage()
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    select pg_advisory_xact_lock_shared(hashtextextended('copperplate lineage', 0));
$$;

comment on function copperplate.hold_lineage() is
'Until the transaction ends, no takedown looks for descendants: what it makes known, a parent or a generation from a
source picture, is seen by the next one. Taken before any row is locked; waits for a takedown under way.';
revoke all on function copperplate.hold_lineage() from public, anon, authenticated;
grant execute on function copperplate.hold_lineage() to service_role;

create function copperplate.close_lineage()
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    select pg_advisory_xact_lock(hashtextextended('copperplate lineage', 0));
$$;

comment on function copperplate.close_lineage() is
'Wait for all who hold the lineage, and until the transaction ends let nobody add to it.';
revoke all on function copperplate.close_lineage() from public, anon, authenticated;
grant execute on function copperplate.close_lineage() to service_role;

create view public.picture_lineage
with (security_invoker = true)
as
select
    g.prompt_hash as key,
    g.kind,
    g.recipe ->> 'operation' as operation,
    g.model,
    g.recipe ->> 'source' as image_hash,
    s.parent_key,
    s.relation,
    s.crop,
    (
        select coalesce(sum(e.file_size), 0)::bigint
        from copperplate.cache_entries as e
        where e.generation_key = g.prompt_hash
    ) as bytes,
    g.pinned_at is not null as is_pinned,
    g.created_at
from public.generation_status as g
left join copperplate.source_pictures as s on g.kind = 'processed' and g.recipe ->> 'source' = s.digest;

comment on view public.picture_lineage is
'One row per generation: what it was made from (image_hash, the SHA-256 of the source picture), and the generation whose
picture that is: the same bytes, or cropped from it by a rectangle (left, top, width, height in px) that was declared.';
revoke all on table public.picture_lineage from public, anon, authenticated, service_role;
grant select on table public.picture_lineage to service_role;

create function copperplate.names_below(p_names text[])
returns setof text
language sql
stable
security invoker
set search_path = ''
as $$
    -- A name is the key of a generation, or the digest of bytes.
    with recursive below (name) as (
        select unnest(p_names)
        union
        select n.name
        from below as b
        cross join lateral (
            select s.digest as name from copperplate.source_pictures as s where s.parent_key = b.name
            union all
            -- What came from a generation that grew old is found all the same.
            select s.digest from copperplate.source_pictures as s where s.parent_source = b.name
            union all
            select g.prompt_hash
            from public.generation_status as g
            where g.kind = 'processed' and g.recipe ->> 'source' = b.name
            union all
            -- Its own bytes, which somebody may bring as a file.
            select e.digest from copperplate.cache_entries as e where e.generation_key = b.name
        ) as n
    )

    select b.name from below as b;
$$;

comment on function copperplate.names_below(text[]) is
'Of generations, by their keys, and of bytes, by their digests: themselves, and the keys and digests of all that was
made from them in any number of steps.';
revoke all on function copperplate.names_below(text[]) from public, anon, authenticated;
grant execute on function copperplate.names_below(text[]) to service_role;

create function copperplate.bytes_below(p_keys text[], p_digests text[])
returns setof text
language sql
stable
security invoker
set search_path = ''
as $$
    -- That neither is null is what the index asks to hear: an empty list would not say so.
    select s.digest
    from copperplate.source_pictures as s
    where s.parent_key is not null and s.parent_key = any(p_keys)
    union
    -- What came from a generation that grew old is found all the same.
    select s.digest
    from copperplate.source_pictures as s
    where s.parent_source is not null and s.parent_source = any(p_digests)
    union
    -- Their own bytes, which somebody may bring as a file.
    select e.digest from copperplate.cache_entries as e where e.generation_key = any(p_keys);
$$;

comment on function copperplate.bytes_below(text[], text[]) is
'The digests of what came, in one step, of these generations and of what was made from these bytes.';
revoke all on function copperplate.bytes_below(text[], text[]) from public, anon, authenticated;
grant execute on function copperplate.bytes_below(text[], text[]) to service_role;

create function copperplate.generations_below(p_keys text[], p_depth integer default 2147483647)
returns table (key text, depth integer)
language plpgsql
stable
rows 20
security invoker
set search_path = ''
as $$
declare
    v_keys text[] := p_keys;
    v_digests text[] := array[]::text[];
    v_met text[] := p_keys;
    v_met_digests text[] := array[]::text[];
begin
    -- A level at a time, as there may be as many keys as there are pictures.
    for v_depth in 1..p_depth loop
        v_digests := array(
            select b.digest from copperplate.bytes_below(v_keys, v_digests) as b (digest)
            except
            select unnest(v_met_digests)
        );
        exit when cardinality(v_digests) = 0;
        v_keys := array(
            select n.prompt_hash
            from unnest(v_digests) as d (digest)
            cross join lateral (
                select g.prompt_hash
                from public.generation_status as g
                where g.kind = 'processed' and g.recipe ->> 'source' = d.digest
                -- One by one: Postgres uses no statistics of an index over a part of a table, and would read all of it.
                offset 0
            ) as n
            except
            select unnest(v_met)
        );
        v_met := v_met || v_keys;
        v_met_digests := v_met_digests || v_digests;
        return query select k.key, v_depth from unnest(v_keys) as k (key);
    end loop;
end;
$$;

comment on function copperplate.generations_below(text[], integer) is
'The keys of all generations that were made from these, without these themselves, each with the fewest steps that lead
to it, p_depth at most.';
revoke all on function copperplate.generations_below(text[], integer) from public, anon, authenticated;
grant execute on function copperplate.generations_below(text[], integer) to service_role;

create function copperplate.generations_above(p_key text, p_depth integer)
returns table (key text, depth integer)
language sql
stable
rows 10
security invoker
set search_path = ''
as $$
    with recursive above (key, digest, depth) as (
        select p_key, (select l.image_hash from public.picture_lineage as l where l.key = p_key), 0
        union
        select s.parent_key, s.parent_source, a.depth - 1
        from above as a
        inner join copperplate.source_pictures as s on a.digest = s.digest
        where s.parent_key is not null and a.depth > -p_depth
    )

    select a.key, a.depth from above as a;
$$;

comment on function copperplate.generations_above(text, integer) is
'A generation, and what it was made from in at most p_depth steps: their depths are below 0.';
revoke all on function copperplate.generations_above(text, integer) from public, anon, authenticated;
grant execute on function copperplate.generations_above(text, integer) to service_role;

create function copperplate.remove_made_from(p_digest text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_names text[] := array(select b.name from copperplate.names_below(array[p_digest]) as b (name));
    v_keys text[] := array(select g.prompt_hash from public.generation_status as g where g.prompt_hash = any(v_names));
begin
    perform from public.generation_status as g
    where g.prompt_hash = any(v_keys)
    order by g.prompt_hash
    for update;
    delete from public.generation_status as g where g.prompt_hash = any(v_keys);
    perform copperplate.discard_inputs(v_names);
end;
$$;

comment on function copperplate.remove_made_from(text) is
'Remove every generation that was made from these bytes, which turn out to be taken down, and every copy of what they
were made from.';
revoke all on function copperplate.remove_made_from(text) from public, anon, authenticated;
grant execute on function copperplate.remove_made_from(text) to service_role;

create function public.lineage_of(
    p_key text, p_limit integer default 1000, p_with_descendants boolean default true, p_owner text default null
)
returns table (
    key text,
    kind text,
    operation text,
    model text,
    image_hash text,
    parent_key text,
    relation text,
    crop integer[],
    bytes bigint,
    is_pinned boolean,
    created_at timestamptz,
    depth integer,
    is_owned boolean
)
language sql
stable
security invoker
set search_path = ''
as $$
    with asked (key) as (
        -- People hold the key of a picture, too.
        select coalesce((select e.generation_key from copperplate.cache_entries as e where e.key = p_key), p_key)
    ),

    -- Where a circle was noted the nearest counts.
    met as (
        select distinct on (m.key) m.key, m.depth
        from (
            select n.key, n.depth from asked as a cross join lateral copperplate.generations_above(a.key, 32) as n
            union all
            select n.key, n.depth
            from asked as a
            cross join lateral copperplate.generations_below(array[a.key], 32) as n
            where p_with_descendants
        ) as m
        order by m.key asc, abs(m.depth) asc, m.depth asc
    )

    select
        l.key, l.kind, l.operation, l.model, l.image_hash, l.parent_key, l.relation, l.crop, l.bytes, l.is_pinned,
        l.created_at, m.depth,
        exists (select from copperplate.source_owners as o where o.digest = l.image_hash and o.owner = p_owner)
    from met as m
    inner join public.picture_lineage as l on m.key = l.key
    order by m.depth asc, l.created_at asc, l.key asc
    limit least(p_limit, 1000);
$$;

comment on function public.lineage_of(text, integer, boolean, text) is
'A picture, by the key of its generation or its own, with what it was made from (depth below 0) and what was made from
it (above 0), the farthest ancestor first: at most 32 steps each way, and p_limit rows, 1,000. Without
p_with_descendants, what it was made from alone. is_owned: whether p_owner had the bytes that one was made from.';
revoke all on function public.lineage_of(text, integer, boolean, text) from public, anon, authenticated;
grant execute on function public.lineage_of(text, integer, boolean, text) to service_role;
