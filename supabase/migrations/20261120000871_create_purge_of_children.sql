-- What a purge with children removes, and what its dry run shows of it.

create function copperplate.find_children(
    p_keys text[], p_with_pinned boolean, out keys text[], out pinned bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select
        coalesce(
            array_agg(g.prompt_hash order by b.depth desc, g.prompt_hash asc)
            filter (where p_with_pinned or g.pinned_at is null),
            '{}'
        ),
        count(*) filter (where not p_with_pinned and g.pinned_at is not null)
    from copperplate.generations_below(p_keys) as b
    inner join public.generation_status as g on b.key = g.prompt_hash;
$$;

comment on function copperplate.find_children(text[], boolean) is
'All that was made from these generations, in any number of steps, the most steps first. Pinned ones are only counted,
unless they are meant.';
revoke all on function copperplate.find_children(text[], boolean) from public, anon, authenticated;
grant execute on function copperplate.find_children(text[], boolean) to service_role;

create function copperplate.tree_of(p_children text[])
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(to_jsonb(n)), '[]')
    from (
        select l.key, l.kind, l.operation, l.parent_key, l.bytes
        from (
            select unnest(p_children)
            union
            select s.parent_key
            from public.generation_status as g
            inner join copperplate.source_pictures as s on g.recipe ->> 'source' = s.digest
            where g.kind = 'processed' and g.prompt_hash = any(p_children)
        ) as shown (key)
        inner join public.picture_lineage as l on shown.key = l.key
        order by l.created_at asc, l.key asc
        -- To be shown to a person.
        limit 200
    ) as n;
$$;

comment on function copperplate.tree_of(text[]) is
'The first 200 of these pictures and of those that they were made from, [{key, kind, operation, parent_key, bytes}].';
revoke all on function copperplate.tree_of(text[]) from public, anon, authenticated;
grant execute on function copperplate.tree_of(text[]) to service_role;
