-- Where pictures come from, and what was made from them. Lineage goes through the bytes:
--
--   generation ──(its bytes, or a rectangle of them)──► source picture ──(recipe.source)──► generation
--
-- A generation has one source picture and that has one parent, so what is above is a line, and what is below a tree. A
-- declared parent may close a circle: every walk here meets each digest once, or ends at a depth.

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

create function copperplate.generations_below(p_keys text[])
returns setof text
language sql
stable
security invoker
set search_path = ''
as $$
    -- The first step in one, as there may be as many keys as there are pictures.
    select g.prompt_hash
    from copperplate.names_below(
        array(
            select s.digest
            from copperplate.source_pictures as s
            where s.parent_key = any(p_keys)
            union
            select s.digest
            from copperplate.cache_entries as e
            inner join copperplate.source_pictures as s on e.digest = s.digest
            where e.generation_key = any(p_keys)
        )
    ) as b (name)
    inner join public.generation_status as g on b.name = g.prompt_hash
    where g.prompt_hash <> all(p_keys);
$$;

comment on function copperplate.generations_below(text[]) is
'The keys of all generations that were made from these, in any number of steps, without these themselves.';
revoke all on function copperplate.generations_below(text[]) from public, anon, authenticated;
grant execute on function copperplate.generations_below(text[]) to service_role;

create function copperplate.remove_made_from(p_digest text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_keys text[] := array(
        select g.prompt_hash
        from copperplate.names_below(array[p_digest]) as b (name)
        inner join public.generation_status as g on b.name = g.prompt_hash
    );
begin
    perform from public.generation_status as g
    where g.prompt_hash = any(v_keys)
    order by g.prompt_hash
    for update;
    delete from public.generation_status as g where g.prompt_hash = any(v_keys);
end;
$$;

comment on function copperplate.remove_made_from(text) is
'Remove every generation that was made from these bytes, which turn out to be taken down.';
revoke all on function copperplate.remove_made_from(text) from public, anon, authenticated;
grant execute on function copperplate.remove_made_from(text) to service_role;

create function public.lineage_of(
    p_key text, p_depth integer default 32, p_limit integer default 1000, p_with_descendants boolean default true
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
    depth integer
)
language sql
stable
security invoker
set search_path = ''
as $$
    with recursive asked (key) as (
        -- People hold the key of a picture, too.
        select coalesce((select e.generation_key from copperplate.cache_entries as e where e.key = p_key), p_key)
    ),

    above (key, digest, depth) as (
        select a.key, (select l.image_hash from public.picture_lineage as l where l.key = a.key), 0
        from asked as a
        union
        select s.parent_key, s.parent_source, a.depth - 1
        from above as a
        inner join copperplate.source_pictures as s on a.digest = s.digest
        where s.parent_key is not null and a.depth > -least(p_depth, 32)
    ),

    below (key, digest, depth) as (
        select a.key, null::text, 0
        from asked as a
        union
        select n.key, n.digest, b.depth + 1
        from below as b
        cross join lateral (
            select g.prompt_hash as key, f.digest
            from (
                select s.digest from copperplate.source_pictures as s where s.parent_key = b.key
                union
                select s.digest from copperplate.source_pictures as s where s.parent_source = b.digest
                union
                select e.digest from copperplate.cache_entries as e where e.generation_key = b.key
            ) as f
            left join public.generation_status as g on g.kind = 'processed' and f.digest = g.recipe ->> 'source'
        ) as n
        where p_with_descendants and b.depth < least(p_depth, 32)
    ),

    -- Where a circle was declared the nearest counts.
    met as (
        select distinct on (m.key) m.key, m.depth
        from (
            select a.key, a.depth from above as a
            union all
            select b.key, b.depth from below as b
        ) as m
        order by m.key asc, abs(m.depth) asc, m.depth asc
    )

    select
        l.key, l.kind, l.operation, l.model, l.image_hash, l.parent_key, l.relation, l.crop, l.bytes, l.is_pinned,
        l.created_at, m.depth
    from met as m
    inner join public.picture_lineage as l on m.key = l.key
    order by m.depth asc, l.created_at asc, l.key asc
    limit least(p_limit, 1000);
$$;

comment on function public.lineage_of(text, integer, integer, boolean) is
'A picture, by the key of its generation or its own, with what it was made from (depth below 0) and what was made from
it (above 0), the farthest ancestor first: at most p_depth steps, 32 by default and at most, and p_limit rows, 1,000.
Without p_with_descendants, what it was made from alone.';
revoke all on function public.lineage_of(text, integer, integer, boolean) from public, anon, authenticated;
grant execute on function public.lineage_of(text, integer, integer, boolean) to service_role;
