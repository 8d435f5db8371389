-- Where a source picture comes from: found by its bytes, or told.

create function copperplate.comes_from(p_digest text, p_origin text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    with recursive above (digest) as (
        select p_digest
        union
        select s.parent_source
        from above as a
        inner join copperplate.source_pictures as s on a.digest = s.digest
    )

    select exists (select from above as a where a.digest = p_origin);
$$;

comment on function copperplate.comes_from(text, text) is
'Whether bytes are those of p_origin, or come from them in any number of steps.';
revoke all on function copperplate.comes_from(text, text) from public, anon, authenticated;
grant execute on function copperplate.comes_from(text, text) to service_role;

create function copperplate.parent_of(p_digest text, p_parent_key text, p_crop integer[], p_is_told boolean)
returns table (key text, source text, crop integer[])
language sql
stable
security invoker
set search_path = ''
as $$
    select f.key, g.recipe ->> 'source', f.crop
    from (
        select 1 as rank, p_parent_key as key, null::integer[] as crop, null::timestamptz as created_at
        where p_parent_key is not null and p_crop is null
        union all
        select 2, e.generation_key, null, e.created_at
        from copperplate.cache_entries as e
        where e.digest = p_digest
        union all
        select 3, p_parent_key, p_crop, null
        where p_parent_key is not null and p_crop is not null and p_is_told
    ) as f
    left join public.generation_status as g on f.key = g.prompt_hash and g.kind = 'processed'
    where not copperplate.comes_from(g.recipe ->> 'source', p_digest)
    order by f.rank asc, f.created_at asc, f.key asc
    limit 1;
$$;

comment on function copperplate.parent_of(text, text, integer[], boolean) is
'The generation whose picture these bytes are, told or found by their digest, before the one that they are said to be a
rectangle of, where that counts (p_is_told); none that was itself made from them.';
revoke all on function copperplate.parent_of(text, text, integer[], boolean) from public, anon, authenticated;
grant execute on function copperplate.parent_of(text, text, integer[], boolean) to service_role;

create function copperplate.note_parent(p_digest text, p_parent_key text, p_crop integer[], p_is_told boolean)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    update copperplate.source_pictures as s
    set
        parent_key = p.key, parent_source = p.source, crop = p.crop,
        relation = case when p.crop is null then 'same' else 'cropped' end
    from copperplate.parent_of(p_digest, p_parent_key, p_crop, p_is_told) as p
    -- What is proved stands in place of what was declared.
    where s.digest = p_digest and (s.parent_key is null or (s.relation = 'cropped' and p.crop is null));
$$;

comment on function copperplate.note_parent(text, text, integer[], boolean) is
'Note where a source picture comes from, as parent_of finds it, if nothing is known of that yet but a declared crop.';
revoke all on function copperplate.note_parent(text, text, integer[], boolean) from public, anon, authenticated;
grant execute on function copperplate.note_parent(text, text, integer[], boolean) to service_role;

create function copperplate.forget_declared(p_digest text, p_owner text)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    update copperplate.source_pictures as s
    set parent_key = null, parent_source = null, relation = null, crop = null
    where s.digest = p_digest and s.relation = 'cropped' and not copperplate.owns_alone(p_digest, p_owner);
$$;

comment on function copperplate.forget_declared(text, text) is
'Forget what the first owner declared a source picture to be cropped from, once others had its bytes: what one of them
declares must not take down what another made.';
revoke all on function copperplate.forget_declared(text, text) from public, anon, authenticated;
grant execute on function copperplate.forget_declared(text, text) to service_role;
